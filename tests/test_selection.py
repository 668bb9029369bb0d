"""Which engine serves a model where ENGINE names none, with the engines that are installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prepared_python import engineroom
from standin_hub import StandinHub, standin_hub

from engineroom import plugins
from engineroom.engine import Capabilities, Engine
from engineroom.errors import EngineroomError, PluginError
from engineroom.selection import select
from engineroom.settings import Environment

COMMAND = str(Path(sys.executable).with_name("engineroom"))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Settings of a machine without any model and without engines that are installed apart."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HF_HOME", "HF_HUB_CACHE", "ENGINE"):
        monkeypatch.delenv(name, raising=False)
    nothing = str(tmp_path / "nothing")
    return {
        "VLLM_PYTHON": nothing,
        "MAX_COMMAND": nothing,
        "FASTDEPLOY_PYTHON": nothing,
        "BASE_PATH": nothing,
        "ENGINEROOM_ENGINES": "echo,fastdeploy,llamacpp,max,upstream,vllm",
    }


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandinHub]:
    repositories = {
        "org/Small-GGUF": {"Small-Q8_0.gguf": b"GGUF"},
        "org/Plain": {"config.json": b"{}", "model.safetensors": b"weights"},
        "org/Both": {"config.json": b"{}", "model.safetensors": b"weights", "Both-Q8_0.gguf": b"GGUF"},
        "org/Onnx": {"model.onnx": b"weights"},
    }
    with standin_hub(repositories=repositories) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


def model(folder: Path, architecture: str = "LlamaForCausalLM", file: str = "model.safetensors") -> str:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    (folder / file).write_bytes(b"weights")
    return str(folder)


def with_vllm(machine: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The same machine, with what says that it has vLLM."""
    python = tmp_path / "python"
    python.write_text("""#!/bin/sh\necho '{"vllm": "0.33.0"}'\n""")
    python.chmod(0o755)
    return {**machine, "VLLM_PYTHON": str(python)}


def with_max(machine: dict[str, str], tmp_path: Path) -> dict[str, str]:
    command = tmp_path / "max"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    return {**machine, "MAX_COMMAND": str(command)}


def selected(settings: dict[str, str], name: str = "") -> str:
    engine, env = plugins.engine_class(Environment.of({**settings, **({"MODEL_NAME": name} if name else {})}))
    assert env.source("ENGINE") == plugins.SELECTED
    return engine.name


def test_the_format_decides_and_then_what_is_installed(machine: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "small.gguf").write_bytes(b"GGUF")
    plain = model(tmp_path / "plain")
    both = with_max(with_vllm(machine, tmp_path), tmp_path)
    assert selected(machine, str(tmp_path / "small.gguf")) == "llamacpp"
    assert selected(machine, "~/small.gguf") == "llamacpp"
    assert selected(both, str(tmp_path / "small.gguf")) == "llamacpp", "the one that is best at it, though max loads it"
    assert selected(with_vllm(machine, tmp_path), plain) == "vllm"
    assert selected(with_max(machine, tmp_path), plain) == "max"
    assert selected(both, plain) == "vllm"
    reason = select(plugins.loadable(Environment.of(both)), Environment.of({**both, "MODEL_NAME": plain})).reason
    assert reason.endswith("so it is served by vllm; ENGINE=max would use another")


def test_without_a_model_it_is_the_engine_that_brings_one(machine: dict[str, str]) -> None:
    assert selected(machine) == "llamacpp"
    with pytest.raises(PluginError, match=r"which model\? Name a file"):
        selected({**machine, "ENGINEROOM_ENGINES": "echo,vllm"})


def test_what_makes_embeddings_goes_to_an_engine_that_serves_them(tmp_path: Path, machine: dict[str, str]) -> None:
    def engine(own_name: str, **surfaces: bool) -> type[Engine]:
        able = Capabilities(surfaces=frozenset(surfaces))  # type: ignore[arg-type]
        return type(own_name, (Engine,), {"name": own_name, "model_formats": ("safetensors",), "capabilities": able})

    engines = {"writer": engine("writer", chat=True), "embedder": engine("embedder", embeddings=True)}
    for architecture, name in (("BertModel", "embedder"), ("Qwen3ForCausalLM", "writer")):
        env = Environment.of({**machine, "MODEL_NAME": model(tmp_path / architecture, architecture)})
        assert select(engines, env).engine == name


def test_what_is_missing_is_listed_with_what_installs_it(machine: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(PluginError) as caught:
        selected(machine, model(tmp_path / "plain"))
    lines = str(caught.value).splitlines()
    assert lines[0].endswith(
        "has safetensors weights, and no engine that loads them can run here yet. One of these is needed:"
    )
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["vllm", "max", "fastdeploy"]
    with pytest.raises(PluginError, match="ONNX weights, which no engine that is installed loads"):
        selected(machine, model(tmp_path / "onnx", file="model.onnx"))


def test_a_repository_is_looked_up_on_the_hub(machine: dict[str, str], tmp_path: Path, hub: StandinHub) -> None:
    vllm = with_vllm(machine, tmp_path)
    assert selected(vllm, f"{hub.url}/org/Small-GGUF") == "llamacpp"
    assert selected(vllm, "org/Plain") == "vllm"
    assert selected(vllm, "org/Both:Q8_0") == "llamacpp", "a quantisation is one of GGUF"
    with pytest.raises(EngineroomError, match="the hub has no repository org/none"):
        selected(vllm, "org/none")


def test_config_shows_who_was_selected(machine: dict[str, str], tmp_path: Path) -> None:
    environ = {**os.environ, **with_vllm(machine, tmp_path), "MODEL_NAME": model(tmp_path / "plain")}
    done = engineroom("config", "--json", environ=environ, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (row,) = (row for row in json.loads(done.stdout) if row["name"] == "ENGINE")
    assert (row["value"], row["source"]) == ("vllm", "selected for MODEL_NAME")


@pytest.mark.parametrize("door", ["serve", "runpod"])
def test_the_command_line_s_model_counts_and_the_log_says_so(tmp_path: Path, door: str) -> None:
    environ = {**os.environ, "ENGINE": "echo", "MODEL_NAME": "other", "PORT": "0"}
    process = subprocess.Popen([COMMAND, door, "mine"], env=environ, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        assert "MODEL_NAME is mine, from the command line; other of the environment does not count" in (
            process.stderr.readline()
        )
    finally:
        process.terminate()
        process.communicate(timeout=30)
