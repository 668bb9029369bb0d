"""FastDeploy's real HTTP front end, from a checkout of its source, over a scripted engine: no weights, no GPU.

    make test-fastdeploy-frontend SOURCE=<checkout of a release branch> MODEL=<folder of a model, weights not needed>

FASTDEPLOY_PYTHON names a Python with what FastDeploy imports (docs/fastdeploy.md); its version is FASTDEPLOY_VERSION
where the checkout does not tell.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engineroom import plugins
from engineroom.asgi import request
from engineroom.openai.sse import EventParser
from engineroom.settings import Environment
from engineroom.testing import running
from engineroom_fastdeploy import FastDeployEngine

SOURCE, MODEL = os.environ.get("SOURCE"), os.environ.get("MODEL")
pytestmark = [
    pytest.mark.real_frontend,
    pytest.mark.skipif(not (SOURCE and MODEL), reason="needs SOURCE, a checkout of FastDeploy, and MODEL, a folder"),
    pytest.mark.timeout(600),
]
CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "Hello there"}]


@pytest.fixture(scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FastDeployEngine]:
    log = tmp_path_factory.mktemp("scripted") / "engine.log"
    log.touch()
    head = Path(SOURCE or "", ".git", "HEAD")
    branch = re.search(r"release/(\d+\.\d+)", head.read_text() if head.is_file() else "")
    known = {
        "ENGINE": "fastdeploy",
        "FASTDEPLOY_CHECKS": "false",
        "FASTDEPLOY_VERSION": os.environ.get("FASTDEPLOY_VERSION") or (branch[1] if branch else "2.5"),
        "MODEL_NAME": str(MODEL),
        "SERVED_MODEL_NAME": "scripted",
        "MAX_MODEL_LEN": "512",
        **({"FASTDEPLOY_PYTHON": os.environ["FASTDEPLOY_PYTHON"]} if "FASTDEPLOY_PYTHON" in os.environ else {}),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{Path(__file__).with_name('scripted_engine')}:{SOURCE}")
        patch.setenv("SCRIPTED_ENGINE_LOG", str(log))
        made = plugins.open_engine(Environment.of(known))
        assert isinstance(made, FastDeployEngine)
        async with running(made):
            yield made


def noted() -> list[dict[str, Any]]:
    """What reached the scripted engine."""
    return [json.loads(line) for line in Path(os.environ["SCRIPTED_ENGINE_LOG"]).read_text().splitlines()]


async def post(engine: FastDeployEngine, path: str = CHAT, **body: Any) -> tuple[int, Any]:
    body = {"model": "scripted", **({"messages": HELLO} if path == CHAT else {"prompt": "Hello there"}), **body}
    async with request(engine.app, "POST", path, body=msgspec.json.encode(body)) as answer:
        if answer.headers["content-type"].startswith("text/event-stream"):
            return answer.status, EventParser().feed(await answer.read())
        return answer.status, msgspec.json.decode(await answer.read())


async def test_whole_answers_have_text_and_usage(engine: FastDeployEngine) -> None:
    for path in (CHAT, "/v1/completions"):
        status, body = await post(engine, path, max_tokens=4)
        assert status == 200, body
        choice = body["choices"][0]
        assert choice["message"]["content"] if path == CHAT else choice["text"]
        assert (choice["finish_reason"], body["usage"]["completion_tokens"]) == ("length", 4)


async def test_streams_and_several_choices(engine: FastDeployEngine) -> None:
    status, events = await post(engine, stream=True, max_tokens=4, n=2, stream_options={"include_usage": True})
    assert (status, events[-1]) == (200, b"[DONE]")
    decoded = [msgspec.json.decode(event) for event in events[:-1]]
    assert {choice["index"] for event in decoded for choice in event["choices"]} == {0, 1}
    assert decoded[-1]["usage"]["completion_tokens"] == 8


async def test_errors(engine: FastDeployEngine) -> None:
    status, body = await post(engine, messages=[{"role": "user", "content": "too long " * 600}])
    assert (status, body["error"]["code"]) == (400, "context_length_exceeded")
    assert "Traceback" not in body["error"]["message"]
    status, body = await post(engine, temperature="hot")
    assert (status, body["error"]["param"]) == (400, "temperature")


async def test_a_disconnect_reaches_the_engine_where_it_is_said_to(engine: FastDeployEngine) -> None:
    if not engine.capabilities.abort:
        pytest.skip(f"FastDeploy {engine.version[0]}.{engine.version[1]} cannot abort")
    body = msgspec.json.encode({"model": "scripted", "messages": HELLO, "stream": True, "max_tokens": 400})
    async with request(engine.app, "POST", CHAT, body=body) as answer:
        await answer.__aiter__().__anext__()
    for _ in range(200):
        if any(entry["kind"] == "abort" for entry in noted()):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("no abort arrived")
