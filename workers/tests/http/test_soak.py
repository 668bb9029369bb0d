"""Half a minute of clients of every kind: afterwards the door is as it was. `make soak` does it for longer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from http_door import serving
from mixed_load import SETTINGS, MixedLoad, Sample
from redis_server import RedisServer

WARM_UP_S, SECONDS = 12, 14
_MORE_MB = 8
"""What an allocator may keep between two rounds; a leak of one answer a request would be several times that."""


async def settled(load: MixedLoad, began: float) -> Sample:
    """The door once it closes nothing more: connections that were reset, and some whose clients left, end later."""
    looks = [await load.sample(began)]
    while len(looks) < 30 and (len(looks) < 3 or looks[-3][3:] != looks[-2][3:] or looks[-2][3:] != looks[-1][3:]):
        await asyncio.sleep(0.5)
        looks.append(await load.sample(began))
    return looks[-1]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads Linux' /proc")
async def test_memory_files_and_tasks_are_flat(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path)
    try:
        with serving({**SETTINGS, "REDIS_URL": redis.url}, anew=True) as door:
            load = MixedLoad(door.url, door.process.pid)
            samples = []
            began = asyncio.get_running_loop().time()
            for seconds in (WARM_UP_S, SECONDS):
                async with load.running():
                    await asyncio.sleep(seconds)
                await load.quiet()
                samples.append(await settled(load, began))
            before, after = samples
            assert after.requests - before.requests > 300, load.done
            assert after.memory - before.memory < _MORE_MB, (samples, load.done)
            assert after.files <= before.files + 3, (samples, load.done)
            assert after.tasks <= before.tasks + 1, (samples, load.done)
            assert after.threads <= before.threads + 1, (samples, load.done)
            assert not any(": 500" in what for what in load.done), load.done
            assert "Traceback" not in door.log
    finally:
        redis.stop()
