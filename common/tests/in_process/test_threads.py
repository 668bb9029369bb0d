"""Blocking work beside the event loop."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from engineroom.in_process import in_daemon_thread


async def test_its_result_and_its_error_are_handed_on() -> None:
    assert await in_daemon_thread(lambda: 4) == 4
    with pytest.raises(ZeroDivisionError):
        await in_daemon_thread(lambda: 1 / 0)


async def test_the_loop_runs_on_meanwhile() -> None:
    import threading

    allowed = threading.Event()
    working = asyncio.ensure_future(in_daemon_thread(lambda: allowed.wait(30)))
    await asyncio.sleep(0)
    allowed.set()
    assert await working


def test_a_process_does_not_wait_for_work_that_was_cancelled() -> None:
    code = """
import asyncio, time
from engineroom.in_process.threads import in_daemon_thread

async def main():
    try:
        await asyncio.wait_for(in_daemon_thread(lambda: time.sleep(3600)), 0.1)
    except TimeoutError:
        pass
    except asyncio.TimeoutError:
        pass

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
