"""Starts, the model's way into Ollama, failures to start, and what is left afterwards. No Ollama in it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from http_door import COMMAND

from engineroom.asgi import request
from engineroom.engine import MODELS, Route
from engineroom.errors import EngineStartError
from engineroom.process import descendants
from engineroom.testing import running

from .conftest import MODEL, Configure, ask, settings, standin


async def reason(configure: Configure, **variables: str) -> EngineStartError:
    """Why it does not start."""
    engine = configure(**variables)
    try:
        with pytest.raises(EngineStartError) as failed:
            await engine.start()
    finally:
        await engine.stop()
    return failed.value


async def test_the_model_is_pulled_with_progress_before_it_is_ready(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_PULL_S", "0.1")
    engine = configure()
    try:
        starting = asyncio.ensure_future(engine.start())
        seen = set()
        while not starting.done():
            if engine.timeline.progress is not None:
                seen.add(engine.timeline.progress)
                assert not engine.health().ready
            await asyncio.sleep(0.01)
        await starting
        assert {progress.total for progress in seen} <= {1000, 4000}
        assert {progress.done for progress in seen} >= {2000, 4000}
        assert engine.timeline.progress is None
        assert (await ask(engine))[0] == 200
        assert (await standin(engine))["loads"] == 1, "it is in memory before the first request"
    finally:
        await engine.stop()


async def test_a_model_that_is_there_is_not_pulled(configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "standin.json").write_text('{"mine:latest": ["completion"], "other:latest": ["completion"]}')
    async with running(configure(MODEL_NAME="mine", SERVED_MODEL_NAME="a,b")) as engine:
        status, answer = await ask(engine, model="b")
        assert (status, answer["model"]) == (200, "b")
        assert (await ask(engine, model="other"))[0] == 404, "nobody gets the other models of its folder"
        assert "other:latest" in await engine.upstream.text("/v1/models")
        async with request(engine.app, "GET", "/v1/models") as listed:
            assert b"other" not in await listed.read()


async def test_a_model_of_hugging_face(configure: Configure) -> None:
    async with running(configure(MODEL_NAME="hf.co/org/small-GGUF:Q4_K_M")) as engine:
        assert engine.models == ("hf.co/org/small-GGUF:Q4_K_M",)
        assert (await ask(engine))[0] == 200


async def test_a_gguf_file_becomes_a_model_once(configure: Configure, tmp_path: Path) -> None:
    file = tmp_path / "small.gguf"
    file.write_bytes(b"GGUF and weights")
    for _ in range(2):
        async with running(configure(MODEL_NAME=str(file), SERVED_MODEL_NAME="mine")) as engine:
            assert (await ask(engine, model="mine"))[0] == 200
    assert len((tmp_path / "models" / "standin.json").read_text().split("engineroom-local")) == 2
    file.write_bytes(b"none at all")
    error = await reason(configure, MODEL_NAME=str(file))
    assert "Ollama cannot make a model of it: supplied file was not in GGUF format" in str(error)


async def test_a_folder_that_is_called_as_a_model_is_none(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "coder").mkdir()
    monkeypatch.chdir(tmp_path)
    async with running(configure(MODEL_NAME="coder")) as engine:
        assert (await standin(engine))["loaded"][0] == "coder:latest"


async def test_a_folder_of_safetensors(configure: Configure, tmp_path: Path) -> None:
    folder = tmp_path / "llama"
    folder.mkdir()
    for name in ("model.safetensors", "config.json", "tokenizer.json", "notes.md"):
        (folder / name).write_text(name)
    async with running(configure(MODEL_NAME=str(folder), SERVED_MODEL_NAME="mine")) as engine:
        assert (await ask(engine))[0] == 200
    assert len(list((tmp_path / "models" / "blobs").iterdir())) == 3, "the notes are no part of it"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"MODEL_NAME": "no-such-model"}, "Ollama's library has no such model"),
        ({"MODEL_NAME": "no-such-model"}, "hf.co/org/name"),
        ({"OLLAMA_COMMAND": "/no/such/ollama"}, "OLLAMA_COMMAND"),
        ({"STANDIN_VERSION": "0.11.4"}, "Ollama 0.11.4 is too old; 0.12.11 or newer is needed"),
        (
            {"STANDIN_FAILS": "Error: listen tcp 127.0.0.1:1: bind: address already in use"},
            "another program uses a port",
        ),
        ({"STANDIN_FAILS": "Error: could not create directory mkdir /x: permission denied: /x"}, "may not be read or"),
    ],
)
async def test_why_it_does_not_start(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], words: str
) -> None:
    for name in variables:
        if name.startswith("STANDIN"):
            monkeypatch.setenv(name, variables[name])
    ours = {name: value for name, value in variables.items() if not name.startswith("STANDIN")}
    assert words in str(await reason(configure, **ours))


async def test_too_little_memory_is_said_with_what_needs_less(configure: Configure) -> None:
    error = await reason(configure, MODEL_NAME="huge")
    assert "memory is too small for MODEL_NAME=huge" in str(error)
    assert error.safer == {"OLLAMA_NUM_PARALLEL": "1", "OLLAMA_CONTEXT_LENGTH": "4096"}
    async with running(configure(MODEL_NAME="huge", **error.safer)) as engine:
        assert (await ask(engine))[0] == 200


def test_a_missing_command_is_said_in_a_moment(tmp_path: Path) -> None:
    environ = {**os.environ, **settings(tmp_path, OLLAMA_COMMAND="/no/such/ollama")}
    done = subprocess.run([COMMAND, "serve"], env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "ollama could not be started" in done.stderr
    assert "https://ollama.com/download" in done.stderr
    assert "OLLAMA_COMMAND" in done.stderr


async def test_its_log_without_our_health_checks(configure: Configure, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with running(configure()):
        pass
    assert "Listening" in caplog.text
    assert "[GIN]" not in caplog.text


async def test_what_makes_vectors_serves_nothing_else(configure: Configure) -> None:
    async with running(configure(MODEL_NAME="all-minilm")) as engine:
        assert engine.routes == MODELS | {Route("POST", "/v1/embeddings")}


async def test_its_environment(configure: Configure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {"HF_TOKEN": "hf_x", "OLLAMA_HOST": "0.0.0.0:11434", "OLLAMA_ORIGINS": "*"}.items():
        monkeypatch.setenv(name, value)
    options = {"OLLAMA_NUM_GPU": "7", "OLLAMA_KEEP_ALIVE": "5m", "OLLAMA_FLASH_ATTENTION": "true"}
    async with running(configure(**options)) as engine:
        seen = await standin(engine)
        assert seen["loaded"] == [MODEL, False, {"num_gpu": 7}]
        assert (await ask(engine))[0] == 200
        assert (await standin(engine))["loads"] == 1
    environ = seen["environ"]
    ours = {name: value for name, value in environ.items() if name.startswith("OLLAMA_")}
    assert ours.pop("OLLAMA_HOST").startswith("127.0.0.1:")
    defaults = (
        "CONTEXT_LENGTH=8192 DEBUG=0 GO_TEMPLATE=1 GPU_OVERHEAD=0 KV_CACHE_TYPE=f16 LOAD_TIMEOUT=5m MAX_QUEUE=512"
    )
    defaults += " MAX_TRANSFER_STREAMS=4 NOPRUNE=1 NO_CLOUD=1 NUM_PARALLEL=4 SCHED_SPREAD=0"
    expected = dict(f"OLLAMA_{each}".split("=") for each in defaults.split())
    own = {"OLLAMA_FLASH_ATTENTION": "1", "OLLAMA_KEEP_ALIVE": "5m", "OLLAMA_MODELS": str(tmp_path / "models")}
    assert ours == expected | own
    assert "HF_TOKEN" not in environ, "it has no use for it"


async def test_nothing_is_left_of_its_runners(configure: Configure) -> None:
    """They leave its process group here; under the reaper they end all the same, also where it is killed."""
    before = set(descendants(os.getpid()))
    for killed in (False, True):
        engine = configure()
        await engine.start()
        runner = psutil.Process((await standin(engine))["runner"])
        below = set(descendants(os.getpid())) - before
        assert runner.pid in below
        if killed:
            died = asyncio.ensure_future(engine.died())
            await asyncio.sleep(0)
            [server] = [pid for pid in below if b"standin_ollama.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]
            os.kill(server, signal.SIGKILL)
            assert "killed by signal 9" in await asyncio.wait_for(died, 30)
        await engine.stop()
        psutil.wait_procs([runner], timeout=30)
        assert not runner.is_running() or runner.status() == psutil.STATUS_ZOMBIE


def test_nothing_is_left_where_the_worker_is_killed(tmp_path: Path) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import asyncio, json, sys\n"
        "from engineroom.plugins import open_engine\n"
        "from engineroom.settings import Environment\n"
        "async def main():\n"
        "    engine = open_engine(Environment.of(json.loads(sys.argv[1])))\n"
        "    await engine.start()\n"
        "    print('started', flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    arguments = [sys.executable, str(worker), json.dumps(settings(tmp_path))]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        below = psutil.Process(process.pid).children(recursive=True)
        assert any("llama-server" in " ".join(each.cmdline()) for each in below)
    finally:
        process.kill()
        process.communicate(timeout=60)
    deadline = time.monotonic() + 60
    while any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in below):
        assert time.monotonic() < deadline, f"{below} are left"
        time.sleep(0.05)


async def test_ollama_that_ends_while_it_pulls(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_DIES_PULLING", "true")
    error = await reason(configure)
    assert f"ollama broke off while it prepared {MODEL}" in str(error)
