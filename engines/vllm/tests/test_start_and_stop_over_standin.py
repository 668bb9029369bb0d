"""The engine's life, and what it does to requests and answers, over a stand-in for `vllm serve`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from engineroom.asgi import request
from engineroom.engine import MODELS, Engine, Route
from engineroom.errors import EngineStartError
from engineroom.jobs import GenerateRequest, JobInput
from engineroom.process import descendants
from engineroom.testing import Lifecycle, running
from engineroom.testing.suite import test_lifecycle
from engineroom_vllm.engine import VLLMEngine

__all__ = ["test_lifecycle"]

Configure = Callable[..., VLLMEngine]
CHAT = "/v1/chat/completions"


async def kill(engine: Engine) -> None:
    """End the server as the kernel does when memory runs out."""
    for process in descendants(os.getpid()):
        with suppress(OSError):  # Others end by themselves meanwhile.
            if b"standin_vllm.py" in Path(f"/proc/{process}/cmdline").read_bytes():
                os.kill(process, signal.SIGKILL)


@pytest.fixture
def configure(configure: Configure) -> Configure:
    """The stand-in has no weights, so that none are looked for on a hub."""
    return lambda *version, **variables: configure(*version, **{"LOAD_FORMAT": "dummy", **variables})


@pytest.fixture
def lifecycle(configure: Configure) -> Lifecycle:
    return Lifecycle(make=lambda: configure(ENGINE_HANG_TIMEOUT="20"), make_broken=lambda: configure(""), kill=kill)


@pytest.fixture
async def engine(configure: Configure) -> AsyncIterator[VLLMEngine]:
    async with running(configure(MODEL_NAME="org/model", OPENAI_SERVED_MODEL_NAME_OVERRIDE="a,b")) as engine:
        yield engine


async def ask(engine: VLLMEngine, **body: object) -> tuple[int, dict[str, object]]:
    sent = msgspec.json.encode({"model": "a", "messages": [{"role": "user", "content": "x"}], **body})
    async with request(engine.app, "POST", CHAT, body=sent) as answer:
        return answer.status, msgspec.json.decode(await answer.read())


async def test_routes_are_what_the_server_says_and_clients_may_call(engine: VLLMEngine) -> None:
    assert engine.routes == MODELS | {Route("POST", CHAT)}


async def test_a_list_of_models_names_no_path(configure: Configure, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("cache") / "models--org--name" / "snapshots" / "abc"
    folder.mkdir(parents=True)
    async with (
        running(configure(MODEL_NAME=str(folder))) as engine,
        request(engine.app, "GET", "/v1/models") as answer,
    ):
        listed = msgspec.json.decode(await answer.read())
    assert [(model["id"], model["root"]) for model in listed["data"]] == [("org/name", "org/name")]


async def test_worker_vllm_s_guided_fields_reach_vllm_as_it_has_them_now(engine: VLLMEngine) -> None:
    _, answer = await ask(engine, guided_choice=["yes", "no"], guided_decoding_backend="outlines", top_k=3)
    seen = msgspec.json.decode(answer["choices"][0]["message"]["content"])  # type: ignore[index]
    assert seen["structured_outputs"] == {"choice": ["yes", "no"]}
    assert seen["top_k"] == 3
    assert not any(name.startswith("guided_") for name in seen)
    job = {"messages": [{"role": "user", "content": "x"}], "sampling_params": {"guided_choice": ["yes", "no"]}}
    assert isinstance(JobInput.parse(job, engine).request, GenerateRequest), "and a native job may have them, too"


async def test_a_validation_error_is_a_sentence(engine: VLLMEngine) -> None:
    status, answer = await ask(engine, temperature=9)
    expected = {"message": "Too hot: temperature", "type": "invalid_request_error", "param": "temperature"}
    assert (status, answer["error"]) == (400, {**expected, "code": None})


async def test_a_failed_start_quotes_the_line_that_says_why(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_FAILS", "from_report_cuda_out_of_memory")
    engine = configure()
    with pytest.raises(EngineStartError, match=r"50.00 MiB more were needed.*lower MAX_MODEL_LEN"):
        await engine.start()
    await engine.stop()


async def test_what_needs_less_memory_comes_with_the_error(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without what the end of its command line has already, which would win."""
    monkeypatch.setenv("STANDIN_FAILS", "from_report_cuda_out_of_memory")
    engine = configure(VLLM_EXTRA_ARGS="--gpu-memory-utilization 0.5")
    with pytest.raises(EngineStartError) as raised:
        await engine.start()
    assert raised.value.safer == {"ENFORCE_EAGER": "true", "MAX_NUM_BATCHED_TOKENS": "2048"}
    await engine.stop()


async def test_without_vllm_it_says_how_to_get_it(configure: Configure) -> None:
    engine = configure("")
    with pytest.raises(EngineStartError, match="set VLLM_PYTHON"):
        await engine.start()
    await engine.stop()


async def test_what_vllm_says_of_its_start_is_logged(configure: Configure, caplog: pytest.LogCaptureFixture) -> None:
    engine = configure()
    with caplog.at_level(logging.INFO, "engineroom_vllm"):
        await engine.start()
    await engine.stop()
    assert "vLLM says: engine initialised in 3.5 s" in caplog.messages


async def test_leaving_a_stream_ends_it(engine: VLLMEngine) -> None:
    body = msgspec.json.encode({"model": "b", "messages": [], "stream": True, "max_tokens": 100_000})
    async with request(engine.app, "POST", CHAT, body=body) as answer:
        await answer.__aiter__().__anext__()
        assert 'num_requests_running{engine="0"} 1' in await engine.metrics()
    for _ in range(2500):
        if 'num_requests_running{engine="0"} 0' in await engine.metrics():
            return
        await asyncio.sleep(0.02)
    pytest.fail("the generation is still running")
