"""Real vLLM started otherwise, and killed. Last of all: these leave no vLLM for others."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import msgspec
import pytest
from http_door import free_port

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


async def test_a_follower_gets_as_far_as_its_leader(anyio_backend: str) -> None:
    """vLLM takes a second machine's command, makes its configuration, and waits for a leader, which never comes."""
    port = free_port()
    nodes = {"NNODES": "2", "NODE_RANK": "1", "MASTER_PORT": str(port), "PIPELINE_PARALLEL_SIZE": "2"}
    engine = open_engine(REAL.environment(**nodes))
    try:
        await engine.start()
        assert "a follower of the node at 127.0.0.1" in engine.health().reason
        waits = f"headless multiproc executor, with head node address 127.0.0.1:{port}"
        for _ in range(1500):
            if any(waits in line for line in engine.log()):
                break
            assert engine.health().live, engine.health().reason
            await asyncio.sleep(0.2)
        else:
            pytest.fail("it did not get there: " + "\n".join(engine.log()))
        assert not engine.health().ready
    finally:
        await engine.stop()
    assert not [pid for pid in descendants(os.getpid()) if b"vllm" in _command(pid).lower()]
