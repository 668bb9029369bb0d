"""Real MAX killed: three of its processes would outlive it. Last of all: this leaves no MAX for others."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import psutil
import pytest

from engineroom.asgi import request
from engineroom.errors import EngineStartError
from engineroom.plugins import open_engine
from engineroom.process import descendants
from engineroom_max.engine import MAXEngine

from .conftest import COMMAND, REAL

pytestmark = [pytest.mark.real_max, pytest.mark.timeout(1200)]

WORKER = """
import asyncio
from engineroom.settings.environment import Environment
from engineroom.plugins import open_engine

async def main():
    engine = open_engine(Environment.load())
    await engine.start()
    print(engine.directory, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def of_max(root: int) -> list[psutil.Process]:
    """MAX's server and what it started, below `root`."""
    return [psutil.Process(pid) for pid in descendants(root) if str(COMMAND.parent).encode() in _command(pid)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


async def test_a_killed_server_takes_its_workers_with_it_and_is_told(real_max: MAXEngine) -> None:
    died = asyncio.ensure_future(real_max.died())
    body = {"model": "smol", "messages": [{"role": "user", "content": "x"}], "stream": True, "max_tokens": 1500}
    asked = msgspec.json.encode({**body, "ignore_eos": True})
    processes = [process for process in of_max(os.getpid()) if b"reaper.py" not in _command(process.pid)]
    assert len(processes) == 4, "the server, its resource tracker, its metrics and its model"
    directory = real_max.directory
    assert directory is not None
    async with request(real_max.app, "POST", "/v1/chat/completions", body=asked) as answer:
        await answer.__aiter__().__anext__()
        [server] = [process for process in processes if b"serve" in _command(process.pid)]
        os.kill(server.pid, signal.SIGKILL)
        rest = await answer.read()
    assert b'"error"' in rest, "the client is told amid its stream"
    assert "killed by signal 9" in await asyncio.wait_for(died, 60)
    gone(processes)
    async with request(real_max.app, "POST", "/v1/chat/completions", body=asked) as answer:
        assert answer.status == 503
    await real_max.stop()
    assert not directory.exists()


def test_nothing_is_left_where_the_worker_is_killed() -> None:
    """The second start finds what the first has compiled."""
    REAL.environment()
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER], env={**os.environ, **REAL.settings}, stdout=subprocess.PIPE, text=True
    )
    try:
        assert worker.stdout is not None
        directory = Path(worker.stdout.readline().strip())
        assert directory.is_dir()
        processes = of_max(worker.pid)
        assert len(processes) >= 4
    finally:
        worker.kill()
        worker.communicate(timeout=60)
    gone(processes)
    assert not directory.exists()


async def test_a_model_that_cannot_be_served_is_told(tmp_path: Path) -> None:
    model = Path(REAL.settings["MODEL_NAME"])
    REAL.environment()
    for path in model.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "config.json").unlink()
    odd = (model / "config.json").read_text().replace("LlamaForCausalLM", "OddForCausalLM")
    (tmp_path / "config.json").write_text(odd)
    engine = open_engine(REAL.environment(MODEL_NAME=str(tmp_path)))
    with pytest.raises(EngineStartError, match="OddForCausalLM, which this MAX does not know"):
        await engine.start()
    await engine.stop()
    engine = open_engine(REAL.environment(MAX_LENGTH="100000"))
    with pytest.raises(EngineStartError, match="MAX_LENGTH=100000 exceeds the model"):
        await engine.start()
    await engine.stop()
