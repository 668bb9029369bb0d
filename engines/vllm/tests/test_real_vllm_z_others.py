"""Real vLLM started otherwise, and killed. Last of all: these leave no vLLM for others."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import msgspec
import pytest

from engineroom.asgi import request
from engineroom.plugins import open_engine
from engineroom.process import descendants
from engineroom_vllm.engine import VLLMEngine

from .conftest import REAL

pytestmark = [pytest.mark.real_vllm, pytest.mark.timeout(600)]


async def test_a_killed_engine_core_is_noticed_and_told(vllm: VLLMEngine) -> None:
    died = asyncio.ensure_future(vllm.died())
    body = {"model": "smol", "messages": [{"role": "user", "content": "x"}], "stream": True, "max_tokens": 1500}
    async with request(vllm.app, "POST", "/v1/chat/completions", body=msgspec.json.encode(body)) as answer:
        await answer.__aiter__().__anext__()
        [core] = [pid for pid in descendants(os.getpid()) if b"EngineCore" in _command(pid)]
        os.kill(core, signal.SIGKILL)
        rest = await answer.read()
    assert b'"error"' in rest, "the client is told amid its stream"
    reason = await asyncio.wait_for(died, 60)
    assert "vllm" in reason
    assert not vllm.health().live
    async with request(vllm.app, "POST", "/v1/chat/completions", body=msgspec.json.encode(body)) as answer:
        assert answer.status == 503
        assert msgspec.json.decode(await answer.read())["error"]["code"] == "engine_dead"
    await vllm.stop()
    assert not [pid for pid in descendants(os.getpid()) if b"vllm" in _command(pid).lower()]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


async def test_a_pooling_model_has_its_own_routes(anyio_backend: str) -> None:
    engine = open_engine(
        REAL.environment(
            RUNNER="pooling", CONVERT="embed", ENABLE_LORA="", TOOL_CALL_PARSER="", ENABLE_AUTO_TOOL_CHOICE=""
        )
    )

    async def post(path: str, **body: object) -> tuple[int, object]:
        sent = msgspec.json.encode({"model": "smol", **body})
        async with request(engine.app, "POST", path, body=sent) as answer:
            return answer.status, msgspec.json.decode(await answer.read())

    try:
        await engine.start()
        status, answer = await post("/v1/embeddings", input=["one", "two"])
        assert status == 200, answer
        assert isinstance(answer, dict)
        assert len(answer["data"]) == 2
        assert len(answer["data"][0]["embedding"]) == 576
        for path, body in {
            "/pooling": {"input": "one"},
            "/score": {"text_1": "one", "text_2": "two"},
            "/rerank": {"query": "one", "documents": ["one", "two"]},
            "/tokenize": {"prompt": "one"},
        }.items():
            status, answer = await post(path, **body)
            assert status == 200, (path, answer)
        status, _ = await post("/v1/chat/completions", messages=[])
        assert status == 404
    finally:
        await engine.stop()
