"""A library in a process of its own: requests to it, its refusals, and its end. The child here is a stand-in."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from engineroom.errors import APIError, EngineStartError
from engineroom.in_process import ModelProcess

STANDIN = """
import json, os, signal, socket, sys
if sys.argv[1] == "broken":
    sys.exit("error: there is no such model")
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[2])
lines = connection.makefile("rwb", 0)
if sys.argv[1] == "crash":
    os.kill(os.getpid(), signal.SIGKILL)
send = lambda **message: lines.write(json.dumps(message).encode() + b"\\n")
send(status={"cancelled": []})
cancelled = []
for line in lines:
    message = json.loads(line)
    if "cancel" in message:
        cancelled.append(message["cancel"])
        send(status={"cancelled": cancelled})
    elif message["say"] == "die":
        sys.exit("error: it is broken")
    elif message["say"] == "fail":
        send(ended=[[message["id"], "it would not"]])
    else:
        send(items=[[message["id"], list(message["say"])]])
        if message["say"] != "endless":
            send(ended=[[message["id"], ""]])
"""


def explain(lines: Sequence[str], code: int) -> str | None:
    return lines[-1].removeprefix("error: ") if lines else None


async def started(folder: Path, how: str = "") -> ModelProcess:
    program = folder / "standin.py"
    program.write_text(STANDIN)
    command = [sys.executable, "-S", str(program), how]
    return await ModelProcess.start(command, name="standin", grace=5, log=False, explain=explain)


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[ModelProcess]:
    process = await started(tmp_path)
    yield process
    await process.stop()


async def said(process: ModelProcess, text: str) -> str:
    return "".join([item async for item in process.ask({"say": text})])


async def test_each_request_has_its_own_items(process: ModelProcess) -> None:
    texts = ["one", "two", "drei und vier"]
    assert await asyncio.gather(*(said(process, text) for text in texts)) == texts
    with pytest.raises(APIError, match="The generation failed: it would not"):
        await said(process, "fail")
    assert process.steps > 6


async def test_a_request_that_is_left_is_cancelled_and_one_that_ended_is_not(process: ModelProcess) -> None:
    assert await said(process, "whole") == "whole"
    async with aclosing(process.ask({"say": "endless"})) as items:
        assert await anext(items) == "e"
    for _ in range(500):
        if process.status["cancelled"]:
            break
        await asyncio.sleep(0.01)
    assert process.status["cancelled"] == [2]


async def test_its_end_is_told_with_the_reason(process: ModelProcess) -> None:
    asked = asyncio.ensure_future(said(process, "die"))
    assert await process.died() == "it is broken"
    asked.cancel()


@pytest.mark.parametrize(("how", "reason"), [("broken", "there is no such model"), ("crash", "SIGKILL")])
async def test_one_that_cannot_start_says_why(tmp_path: Path, how: str, reason: str) -> None:
    with pytest.raises(EngineStartError, match=reason):
        await started(tmp_path, how)


async def test_a_start_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    """The child never connects, as one that loads for long."""
    command = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
    start = ModelProcess.start(command, name="sleeper", grace=5, log=False, explain=explain)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(start, 0.3)
