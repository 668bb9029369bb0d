"""Children under the reaper."""

from __future__ import annotations

import asyncio
import signal
import sys

from engineroom.process import Process


async def test_a_process_that_is_stopped_as_it_starts_gets_the_sigterm() -> None:
    """The signal must not come before the child can take it: it would be lost, and the whole grace period waited."""

    async def one() -> int:
        process = await Process.spawn([sys.executable, "-Sc", "import time; time.sleep(60)"], name="sleeper", grace=3)
        await process.stop()
        return await process.wait()

    for _ in range(5):
        assert set(await asyncio.gather(*[one() for _ in range(4)])) == {-signal.SIGTERM}
