"""Children under the reaper."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from engineroom.process import Process


async def test_a_process_that_is_stopped_as_it_starts_gets_the_sigterm() -> None:
    """The signal must not come before the child can take it: it would be lost, and the whole grace period waited."""

    async def one() -> int:
        process = await Process.spawn([sys.executable, "-Sc", "import time; time.sleep(60)"], name="sleeper", grace=3)
        await process.stop()
        return await process.wait()

    for _ in range(5):
        assert set(await asyncio.gather(*[one() for _ in range(4)])) == {-signal.SIGTERM}


@pytest.fixture
async def watched_by_pidfd(anyio_backend: str) -> AsyncIterator[None]:
    """Ends of processes reach asyncio through its loop, as they do from Python 3.12 on, and not through a thread."""
    if sys.version_info >= (3, 12):
        yield
        return
    before = asyncio.get_child_watcher()
    watcher = asyncio.PidfdChildWatcher()
    watcher.attach_loop(asyncio.get_running_loop())
    asyncio.set_child_watcher(watcher)
    yield
    asyncio.set_child_watcher(before)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the state of a process is read from /proc")
async def test_a_process_that_has_ended_unnoticed_keeps_its_exit_code(watched_by_pidfd: None) -> None:
    """It is asked to end when the system knows already that it has, and asyncio does not."""
    earlier = {child.pid for child in psutil.Process().children()}
    process = await Process.spawn([sys.executable, "-Sc", "raise SystemExit(3)"], name="ender", grace=3)
    (pid,) = {child.pid for child in psutil.Process().children()} - earlier
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline, "it has not ended"
        time.sleep(0.01)  # noqa: ASYNC251 - the loop must not see that it ends
    process.kill()
    assert await process.wait() == 3
