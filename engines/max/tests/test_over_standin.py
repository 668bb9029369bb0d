"""The engine's life over a stand-in for `max serve`, and what its settings change of requests."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil
import pytest

from engineroom.engine import MODELS, Engine, Route
from engineroom.errors import EngineStartError
from engineroom.process import descendants
from engineroom.testing import Lifecycle, running
from engineroom.testing.suite import test_lifecycle
from engineroom_max.engine import MAXEngine

from .asking import COMPLETIONS, TOOLS, ask, seen

__all__ = ["test_lifecycle"]

Configure = Callable[..., MAXEngine]


def standins() -> list[int]:
    return [pid for pid in descendants(os.getpid()) if b"standin_max.py" in _command(pid)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


async def kill(engine: Engine) -> None:
    """End the server as the kernel does when memory runs out."""
    for pid in standins():
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def lifecycle(configure: Configure) -> Lifecycle:
    return Lifecycle(
        make=lambda: configure(ENGINE_HANG_TIMEOUT="20"),
        make_broken=lambda: configure(MAX_COMMAND="/no/such/max"),
        kill=kill,
    )


async def test_what_max_would_drop_of_messages_and_tools_is_shown_or_refused(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_TOOLS", "optional")
    user = {"role": "user", "content": "x"}
    refusing = [user, {"role": "assistant", "refusal": "No."}, user]
    odd = [{"type": "function", "function": {"name": "f", "unheard_of": 1}}]
    async with running(configure(OPENAI_SERVED_MODEL_NAME_OVERRIDE="a")) as engine:
        assert (await seen(engine, messages=refusing))["messages"][1] == {"role": "assistant", "content": "No."}
        status, answer = await ask(engine, messages=[{**user, "name": "Ada"}])
        assert (status, answer["error"]["param"]) == (400, "messages.0.name")
        status, answer = await ask(engine, tools=odd)
        assert (status, answer["error"]["param"]) == (400, "tools.0.function.unheard_of")


async def test_a_token_that_the_model_has_not_never_reaches_max(configure: Configure, tmp_path: Path) -> None:
    """It ends there for everybody."""
    config = {"vocab_size": 100, "architectures": ["LlamaForCausalLM"]}
    (tmp_path / "config.json").write_bytes(msgspec.json.encode(config))
    (tmp_path / "model.safetensors").write_bytes(b"x")
    async with running(configure(MODEL_NAME=str(tmp_path), OPENAI_SERVED_MODEL_NAME_OVERRIDE="a")) as engine:
        assert (await seen(engine, COMPLETIONS, prompt=[0, 99]))["prompt"] == [0, 99]
        for prompt in ([100], [-1], [[5], [100]], [[-1]]):
            status, answer = await ask(engine, COMPLETIONS, prompt=prompt)
            assert (status, answer["error"]["param"]) == (400, "prompt")
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
        status, answer = await ask(engine, messages=[{"role": "user", "content": [image]}])
        assert (status, answer["error"]["param"]) == (400, "messages.0.content.0")


async def test_a_flag_makes_its_fields_pass(configure: Configure) -> None:
    async with running(configure(ENABLE_STRUCTURED_OUTPUT="true", ENABLE_PENALTIES="false")) as engine:
        assert (await ask(engine, model="org/model", response_format={"type": "json_object"}))[0] == 200
        status, answer = await ask(engine, model="org/model", frequency_penalty=1)
    assert (status, answer["error"]["param"]) == (400, "frequency_penalty")
    assert "ENABLE_PENALTIES=true" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("tools", "choice", "status"),
    [("unseen", "auto", 400), ("optional", "auto", 200), ("optional", "required", 400), ("forced", "required", 200)],
)
async def test_tools_pass_where_the_model_sees_them(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, tools: str, choice: str, status: int
) -> None:
    monkeypatch.setenv("STANDIN_TOOLS", tools)
    async with running(configure()) as engine:
        assert (await ask(engine, model="org/model", tools=TOOLS, tool_choice=choice))[0] == status


async def test_the_task_that_max_finds_says_which_routes_there_are(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_TASK", "embeddings_generation")
    engine = configure()
    try:
        await engine.start()
        assert engine.routes == MODELS | {Route("POST", "/v1/embeddings")}
    finally:
        await engine.stop()


async def test_nothing_of_its_children_and_files_is_left_after_a_sigkill(configure: Configure) -> None:
    """MAX's own workers outlive it when it is killed; under the reaper they do not."""
    engine = configure()
    await engine.start()
    [parent] = standins()
    children = psutil.Process(parent).children()
    assert len(children) == 3
    assert engine.directory is not None
    assert (engine.directory / "standin-socket").exists(), "its sockets are in the engine's own folder"
    directory = engine.directory
    died = asyncio.ensure_future(engine.died())
    await asyncio.sleep(0)
    os.kill(parent, signal.SIGKILL)
    assert "killed by signal 9" in await asyncio.wait_for(died, 10)
    gone(children)
    await engine.stop()
    assert not directory.exists()


def test_nothing_is_left_where_the_worker_is_killed(standin_command: Callable[[str], str], tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(
        "import asyncio, sys\n"
        "from engineroom.settings.environment import Environment\n"
        "from engineroom.plugins import open_engine\n"
        "async def main():\n"
        "    engine = open_engine(Environment.of({'ENGINE': 'max', 'MODEL_NAME': 'a/b', 'MAX_COMMAND': sys.argv[1]}))\n"
        "    await engine.start()\n"
        "    print(engine.directory, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    worker = subprocess.Popen([sys.executable, script, standin_command("26.7.0")], stdout=subprocess.PIPE, text=True)
    try:
        assert worker.stdout is not None
        directory = Path(worker.stdout.readline().strip())
        assert directory.is_dir()
        below = psutil.Process(worker.pid).children(recursive=True)
        assert len(below) >= 5, "the reaper, the server and its three"
    finally:
        worker.kill()
        worker.communicate(timeout=60)
    gone(below)
    deadline = time.monotonic() + 60
    while directory.exists():
        assert time.monotonic() < deadline, f"{directory} is left"
        time.sleep(0.05)


def gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


async def test_its_process_is_told_to_keep_quiet(configure: Configure, caplog: pytest.LogCaptureFixture) -> None:
    engine = configure()
    with caplog.at_level(logging.INFO, "engine.max"):
        await engine.start()
    [told] = [message for message in caplog.messages if message.startswith("ENVIRON ")]
    directory = str(engine.directory)
    await engine.stop()
    environ = msgspec.json.decode(told.removeprefix("ENVIRON "))
    assert (environ["OTEL_SDK_DISABLED"], environ["MODULAR_TELEMETRY_ENABLED"]) == ("true", "0")
    assert environ["TMPDIR"] == directory


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (
            "ValueError: Architecture 'OddForCausalLM' not found in registry",
            "is of the architecture OddForCausalLM, which this MAX does not know",
        ),
        (
            "ValueError: compatible weights cannot be found for 'q4_k', in the provided repo: 'a/b'",
            "QUANTIZATION_ENCODING says which to take",
        ),
        ("ValueError: Model size exceeds available memory (9 GiB > 8 GiB)", "lower MAX_LENGTH or MAX_BATCH_SIZE"),
        ("Error: No such option '--max-lenght'.", "No such option '--max-lenght'."),
        (
            "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name': '/tmp/nowhere'.",
            "/tmp/nowhere is not on this machine, and no repository can be called so",
        ),
        (
            "FileNotFoundError: HF cache for 'org/none' (revision: main) not found while HF_HUB_OFFLINE is enabled.",
            "org/model is not on this machine, and HF_HUB_OFFLINE is set",
        ),
        ("ValueError: GPU id 0 requested but no GPUs are available.", "set DEVICES=cpu"),
        ("huggingface_hub.errors.GatedRepoError: 403 Client Error", "ask for access on its page"),
        (
            "ValueError: Unable to infer max_length, the provided max_length (100000) exceeds the model's (8192).",
            "MAX_LENGTH=100000 exceeds the model's own context of 8192 tokens",
        ),
    ],
)
async def test_a_failed_start_says_why(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, log: str, expected: str
) -> None:
    traceback = f"Traceback (most recent call last):\n  File 'x.py', line 1\n    raise ValueError(\n{log}"
    monkeypatch.setenv("STANDIN_FAILS", traceback)
    engine = configure()
    with pytest.raises(EngineStartError) as failed:
        await engine.start()
    await engine.stop()
    assert expected in str(failed.value)


async def test_a_missing_max_says_what_to_type(configure: Configure) -> None:
    engine = configure(MAX_COMMAND="/no/such/max")
    with pytest.raises(EngineStartError, match=r"/no/such/max: No such file.*uv pip install"):
        await engine.start()
    await engine.stop()
