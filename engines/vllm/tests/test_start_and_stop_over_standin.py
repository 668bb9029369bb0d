"""The engine's life, and what it does to requests and answers, over a stand-in for `vllm serve`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from server_process import ServerProcess, until

from engineroom.asgi import request
from engineroom.engine import MODELS, Engine, Route
from engineroom.errors import EngineStartError
from engineroom.jobs import GenerateRequest, JobInput
from engineroom.process import descendants
from engineroom.testing import Lifecycle, running
from engineroom.testing.suite import test_lifecycle
from engineroom_vllm.engine import VLLMEngine
from engineroom_workers.testing import COMMAND

__all__ = ["test_lifecycle"]

Configure = Callable[..., VLLMEngine]
CHAT = "/v1/chat/completions"


async def kill(engine: Engine) -> None:
    """End the server as the kernel does when memory runs out."""
    for process in standins():
        with suppress(ProcessLookupError):  # It may end by itself meanwhile.
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


@pytest.mark.parametrize("how", [{"NNODES": "2", "NODE_RANK": "1"}, {"HEADLESS": "true"}], ids=["rank", "headless"])
async def test_a_follower_computes_and_takes_no_requests(configure: Configure, how: dict[str, str]) -> None:
    """A second machine's node: alive, never ready, and dead once its process is."""
    engine = configure(MASTER_ADDR="10.0.0.1", **how)
    async with running(engine):
        health = engine.health()
        assert (health.live, health.ready) == (True, False)
        assert health.reason == "a follower of the node at 10.0.0.1, which takes the requests"
        status, answer = await ask(engine)
        assert (status, answer["error"]["code"]) == (503, "engine_loading")  # type: ignore[index]
        assert "a follower of the node at 10.0.0.1" in answer["error"]["message"]  # type: ignore[index]
        until(standins)
        (process,) = standins()
        assert b"--headless" in cmdline(process)
        assert b"--uds" not in cmdline(process)
        os.kill(process, signal.SIGKILL)
        assert "killed by signal 9" in await asyncio.wait_for(engine.died(), 20)
        assert not engine.health().live


async def test_the_first_of_several_nodes_serves(configure: Configure) -> None:
    async with running(configure(NNODES="2", NODE_RANK="0", OPENAI_SERVED_MODEL_NAME_OVERRIDE="a")) as engine:
        assert engine.health().ready
        assert (await ask(engine))[0] == 200


def standins() -> list[int]:
    """The processes below this one that stand in for vLLM."""
    return [pid for pid in descendants(os.getpid()) if b"standin_vllm.py" in cmdline(pid)]


def cmdline(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.fixture
def follower(standin_python: Callable[[str], str]) -> dict[str, str]:
    """The environment of a worker on the second of two machines."""
    settings = {"ENGINE": "vllm", "MODEL_NAME": "org/model", "LOAD_FORMAT": "dummy", "NNODES": "2", "NODE_RANK": "1"}
    return {**os.environ, **settings, "VLLM_PYTHON": standin_python("0.32.0"), "PORT": "0"}


def test_the_http_door_says_that_a_follower_takes_no_requests(follower: dict[str, str], tmp_path: Path) -> None:
    door = ServerProcess([COMMAND, "serve"], tmp_path / "log", follower, tmp_path)
    try:
        door.until(lambda: "started: vllm is a follower of the node at 127.0.0.1" in door.log)
        assert "ready:" not in door.log
    finally:
        door.stop()


def test_a_worker_on_a_queue_cannot_be_a_follower(follower: dict[str, str], tmp_path: Path) -> None:
    platform = {"RUNPOD_WEBHOOK_GET_JOB": "http://127.0.0.1:9/take", "FAILED_START_TIMEOUT": "0"}
    ended = subprocess.run(
        [COMMAND, "runpod"], env={**follower, **platform}, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 1
    assert "no job can be taken: vllm is a follower of the node at 127.0.0.1" in ended.stderr
