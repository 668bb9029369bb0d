"""ServerEngine over a stand-in server process: lifecycle, streaming, faults, and nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import json
import mmap
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from standin.engine import StandinEngine

from engineroom.asgi import request
from engineroom.errors import EngineStartError
from engineroom.testing import running

CHAT = "/v1/chat/completions"
SUPPORT = Path(__file__).parents[3] / "tests" / "support"


async def eventually(condition: Callable[[], Any], seconds: float = 60) -> None:
    """Wait until `condition` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        await asyncio.sleep(0.02)


@pytest.fixture(scope="module", params=["unix", "tcp"])
async def engine(anyio_backend: str, request: pytest.FixtureRequest) -> AsyncIterator[StandinEngine]:
    """One that all tests ask, and none ends."""
    async with running(StandinEngine(transport=request.param)) as engine:
        yield engine


@pytest.fixture(params=["unix", "tcp"])
async def own_engine(request: pytest.FixtureRequest) -> AsyncIterator[StandinEngine]:
    """One that its test may end."""
    async with running(StandinEngine(transport=request.param)) as engine:
        yield engine


async def post(engine: StandinEngine, **body: object) -> tuple[int, dict[str, str], bytes]:
    async with request(engine.app, "POST", CHAT, body=json.dumps(body).encode()) as response:
        return response.status, response.headers, await response.read()


async def test_streams_events_as_they_come(engine: StandinEngine) -> None:
    body = json.dumps({"stream": True, "words": 10, "gap": 0.1}).encode()
    async with request(engine.app, "POST", CHAT, body=body) as response:
        assert response.status == 200
        assert response.headers["content-type"] == "text/event-stream"
        chunks = [chunk async for chunk in response]
    assert len(chunks) >= 3
    assert "wörd2" in b"".join(chunks).decode()
    assert b"".join(chunks).endswith(b"data: [DONE]\n\n")


async def test_a_whole_answer_has_its_length(engine: StandinEngine) -> None:
    status, headers, body = await post(engine, words=2)
    assert status == 200
    assert int(headers["content-length"]) == len(body)


async def test_unknown_fields_reach_the_engine(engine: StandinEngine) -> None:
    _, _, body = await post(engine, min_p=0.1, words=1)
    assert json.loads(body)["seen"]["min_p"] == 0.1


async def test_a_request_without_a_model_is_for_the_one_that_there_is(engine: StandinEngine) -> None:
    """A server may insist on a field that nobody here needs: vLLM's Anthropic messages do."""
    _, _, body = await post(engine, words=1)
    assert json.loads(body)["seen"]["model"] == engine.models[0]


async def test_an_engine_error_is_openais(engine: StandinEngine) -> None:
    status, _, body = await post(engine, fault="error")
    assert status == 400
    assert json.loads(body)["error"] == {
        "message": "too hot",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }


async def test_a_stream_that_is_cut_says_so(engine: StandinEngine) -> None:
    _, _, body = await post(engine, stream=True, fault="cut")
    last = body.rstrip().split(b"\n\n")[-1]
    assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "engine_error"


async def test_before_the_first_token_a_failure_is_a_status(engine: StandinEngine) -> None:
    """Also where the server has sent its headers long before."""
    status, _, body = await post(engine, stream=True, fault="cut", fault_after=0, gap=0.2)
    assert (status, json.loads(body)["error"]["code"]) == (502, "engine_error")


async def test_death_before_the_first_token_is_a_status(own_engine: StandinEngine) -> None:
    status, _, body = await post(own_engine, stream=True, fault="die", fault_after=0, gap=0.2)
    assert (status, json.loads(body)["error"]["code"]) == (503, "engine_dead")


@pytest.mark.parametrize(
    ("path", "status", "url"),
    [
        ("/v1/things/a", 200, "/v1/things/a"),
        ("/v1/things/org/a b#c%?d=%41", 200, "/v1/things/org/a%20b%23c%25?d=%41"),
        ("/v1/things/../../metrics", 404, None),
        ("/v1/things/..", 404, None),
    ],
)
async def test_a_path_arrives_as_it_was_meant_and_leads_nowhere_else(
    engine: StandinEngine, path: str, status: int, url: str | None
) -> None:
    async with request(engine.app, "GET", path) as response:
        assert response.status == status
        assert json.loads(await response.read()).get("url") == url


async def test_death_mid_stream_is_told_with_its_reason(own_engine: StandinEngine) -> None:
    engine = own_engine
    _, _, body = await post(engine, stream=True, fault="die")
    last = body.rstrip().split(b"\n\n")[-1]
    error = json.loads(last.removeprefix(b"data: "))["error"]
    assert error["code"] == "engine_dead"
    assert "CUDA out of memory" in error["message"]
    assert "CUDA out of memory" in await asyncio.wait_for(engine.died(), 60)
    assert not engine.health().live
    status, _, body = await post(engine)
    assert status == 503
    assert json.loads(body)["error"]["code"] == "engine_dead"


async def test_leaving_a_stream_aborts_it(engine: StandinEngine) -> None:
    for stream in (True, False):
        body = json.dumps({"stream": stream, "words": 10_000, "gap": 0.1}).encode()
        task = asyncio.ensure_future(_read(engine, body))
        await _until_running(engine, 1)
        task.cancel()
        await _until_running(engine, 0)


async def _until_running(engine: StandinEngine, number: int) -> None:
    deadline = time.monotonic() + 60
    while f"standin_running {number}\n" not in await engine.metrics():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def _read(engine: StandinEngine, body: bytes) -> None:
    async with request(engine.app, "POST", CHAT, body=body) as response:
        await response.read()


async def test_stop_tells_running_clients(own_engine: StandinEngine) -> None:
    body = json.dumps({"stream": True, "words": 100, "gap": 0.1}).encode()
    async with request(own_engine.app, "POST", CHAT, body=body) as response:
        chunks = aiter(response)
        await anext(chunks)
        await own_engine.stop()
        rest = b"".join([chunk async for chunk in chunks])
    assert b"shutting_down" in rest


async def test_loading_is_503_with_retry_after() -> None:
    engine = StandinEngine("--ready-after", "100")
    start = asyncio.ensure_future(engine.start())
    try:
        await asyncio.sleep(0.1)
        status, headers, body = await post(engine)
        assert status == 503
        assert int(headers["retry-after"]) > 0
        assert json.loads(body)["error"]["code"] == "engine_loading"
        assert engine.health().live
        assert not engine.health().ready
    finally:
        start.cancel()
        await asyncio.gather(start, return_exceptions=True)
        await engine.stop()


@pytest.mark.parametrize("code", [0, 1, 3])
async def test_an_exit_before_ready_is_a_failed_start(code: int) -> None:
    engine = StandinEngine("--exit", str(code))
    with pytest.raises(EngineStartError, match=r"^standin did not start: unrecognised arguments") as caught:
        await engine.start()
    assert caught.value.log == ("unrecognised arguments: --nonsense",)
    assert not engine.health().live
    await engine.stop()
    await engine.stop()


async def test_a_missing_command_is_named() -> None:
    engine = StandinEngine(command=["no-such-engine"])
    with pytest.raises(EngineStartError, match="no-such-engine"):
        await engine.start()
    await engine.stop()


async def test_a_start_that_takes_too_long_fails() -> None:
    engine = StandinEngine("--ready-after", "100", START_TIMEOUT=1)
    with pytest.raises(EngineStartError, match="START_TIMEOUT"):
        await engine.start()
    await engine.stop()


class FailingWhenCancelled(StandinEngine):
    """What it does before its process is spawned breaks off with an error where it is cancelled."""

    async def before_start(self) -> None:
        try:
            await asyncio.sleep(600)
        finally:
            raise EngineStartError("the download broke off")


async def test_a_start_given_up_while_it_fails_leaves_no_error_behind() -> None:
    """An error that nobody is left to hear of would be logged as one of the worker's own."""
    lost: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: lost.append(context))
    engine = FailingWhenCancelled()
    starting = asyncio.ensure_future(engine.start())
    await asyncio.sleep(0.1)
    starting.cancel()
    with pytest.raises(EngineStartError, match="the download broke off"):
        await starting
    await engine.stop()
    gc.collect()
    assert not lost


async def test_stop_leaves_nothing_behind() -> None:
    others = set(psutil.Process().children(recursive=True))
    engine = StandinEngine("--child")
    await engine.start()
    directory = engine.directory
    assert directory is not None
    family = set(psutil.Process().children(recursive=True)) - others
    assert any(process.name() == "sleep" for process in family)
    await engine.stop()
    assert not directory.exists()
    await eventually(lambda: not any(process.is_running() for process in family))


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="shared memory is elsewhere here")
async def test_shared_memory_that_its_process_forgot_is_removed() -> None:
    forgotten, others = (Path(f"/dev/shm/engineroom-test-{secrets.token_hex(8)}") for _ in range(2))
    others.write_bytes(bytes(4096))
    with others.open("r+b") as file, mmap.mmap(file.fileno(), 4096):
        engines = [StandinEngine("--shared-memory", str(path)) for path in (forgotten, others)]
        for engine in engines:
            await engine.start()
        assert forgotten.exists()
        for engine in engines:
            await engine.stop()
        assert not forgotten.exists()
        assert others.exists(), "another process has it still"
    others.unlink()


async def test_an_engine_that_ignores_sigterm_is_killed_after_its_grace() -> None:
    engine = StandinEngine("--ignore-sigterm", STOP_TIMEOUT=0.5)
    await engine.start()
    process = engine._process
    assert process is not None
    await asyncio.wait_for(engine.stop(), 60)
    assert process.returncode == -signal.SIGKILL


async def test_sigkill_of_the_worker_leaves_nothing_behind(tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(
        f"import asyncio, sys\nsys.path.insert(0, {str(SUPPORT)!r})\n"
        "from standin.engine import StandinEngine\n"
        "async def main():\n    engine = StandinEngine('--child')\n    await engine.start()\n"
        "    print(engine.directory, flush=True)\n    await asyncio.sleep(1000)\n"
        "asyncio.run(main())\n"
    )
    worker = await asyncio.to_thread(subprocess.Popen, [sys.executable, str(script)], stdout=subprocess.PIPE)
    assert worker.stdout is not None
    directory = Path((await asyncio.to_thread(worker.stdout.readline)).decode().strip())
    assert directory.is_dir()
    family = psutil.Process(worker.pid).children(recursive=True)
    assert any(process.name() == "sleep" for process in family)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    worker.stdout.close()
    await eventually(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in family))
    await eventually(lambda: not directory.exists())
