"""What is no model for the engine: every engine that loads files says so at once, before it asks any hub."""

from __future__ import annotations

import json
import os
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from prepared_python import engineroom

from engineroom import plugins
from engineroom.errors import SettingsError
from engineroom.models import FORMAT_NAMES, ModelFormat
from engineroom.settings import Environment

ENGINES = [point.name for point in sorted(entry_points(group=plugins.ENGINES), key=lambda point: point.name)]
LOADERS = [name for name in ENGINES if plugins.load_engine(name).model_formats]
FILES: dict[ModelFormat, str] = {
    "gguf": "small.gguf",
    "safetensors": "model.safetensors",
    "pytorch": "pytorch_model.bin",
    "pdparams": "model_state.pdparams",
    "onnx": "model.onnx",
}


MISMATCHES = [
    (name, model_format)
    for name in LOADERS
    for model_format in FILES
    if model_format not in plugins.load_engine(name).model_formats
]


def refused(**settings: str) -> str:
    """The error with which an engine is not even configured."""
    with pytest.raises(SettingsError) as caught:
        plugins.open_engine(Environment.of(settings))
    return str(caught.value)


@pytest.mark.parametrize("engine", LOADERS)
@pytest.mark.parametrize("model", ["./nope.gguf", "/no/such/folder", "~/no-such-model", "nope.safetensors"])
def test_a_path_that_is_not_there_is_no_repository(engine: str, model: str, tmp_path: Path) -> None:
    error = refused(ENGINE=engine, MODEL_NAME=model)
    assert f"MODEL_NAME (from arguments): there is no file or folder {model}" in error
    assert error.count("MODEL_NAME") == 1


@pytest.mark.parametrize("engine", LOADERS)
def test_a_start_ends_with_that_one_line(engine: str, tmp_path: Path) -> None:
    env = {**os.environ, "ENGINE": engine, "MODEL_NAME": "./nope.gguf"}
    done = engineroom("serve", environ=env, folder=tmp_path)
    assert done.returncode == 2
    assert f"MODEL_NAME (from environment): there is no file or folder ./nope.gguf in {tmp_path}\n" in done.stderr
    assert done.stderr.count("nope.gguf") == 1


def test_a_path_that_is_almost_right_is_suggested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small-model.gguf").touch()
    error = refused(ENGINE=LOADERS[0], MODEL_NAME="./smal-model.gguf")
    assert "did you mean small-model.gguf?" in error


@pytest.mark.parametrize(("engine", "model_format"), MISMATCHES)
def test_weights_of_another_format_name_the_engine_that_loads_them(
    engine: str, model_format: ModelFormat, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / FILES[model_format]).touch()
    error = refused(ENGINE=engine, MODEL_NAME=str(folder))
    assert f"{folder} is a folder of {FORMAT_NAMES[model_format]} weights, and ENGINE={engine} loads" in error
    others = [name for name in LOADERS if model_format in plugins.load_engine(name).model_formats]
    assert not others or any(f"ENGINE={name}" in error.partition(";")[2] for name in others)
    assert others or "no engine that is installed loads it" in error


@pytest.mark.parametrize("engine", LOADERS)
def test_an_adapter_is_no_model(engine: str, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "org/base"}))
    (tmp_path / "adapter_model.safetensors").touch()
    error = refused(ENGINE=engine, MODEL_NAME=str(tmp_path))
    assert f"{tmp_path} is a LoRA adapter, not a model: MODEL_NAME must name org/base" in error
    setting = plugins.load_engine(engine).adapter_setting
    assert not setting or f"and {setting} the adapter" in error


@pytest.mark.parametrize("engine", LOADERS)
@pytest.mark.parametrize("target", ["gone.gguf", "small.gguf"])
def test_a_link_to_nothing_is_told_as_one(engine: str, target: str, tmp_path: Path) -> None:
    """Never as a path that is missing, with itself as the one that was meant."""
    link = tmp_path / "small.gguf"
    link.symlink_to(target)
    error = refused(ENGINE=engine, MODEL_NAME=str(link))
    assert f"is a link to {target}, where nothing is" in error
    assert "did you mean" not in error


@pytest.mark.parametrize(
    ("content", "remedy"),
    [(b"", "is empty; download it again"), (b"version https://git-lfs.github.com/spec/v1\n", "run `git lfs pull`")],
)
def test_what_lies_in_the_place_of_a_gguf_has_its_own_remedy(content: bytes, remedy: str, tmp_path: Path) -> None:
    model = tmp_path / "small.gguf"
    model.write_bytes(content)
    assert remedy in refused(ENGINE="llamacpp", MODEL_NAME=str(model))
