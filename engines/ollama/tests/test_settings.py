"""Settings: what is refused before anything starts, and where models are kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from real_engine import opened

from engineroom.errors import SettingsError
from engineroom.settings import Environment
from engineroom_ollama import OllamaEngine

from .conftest import Configure


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("OLLAMA_NUM_PARALLEL", "0", "at least 1"),
        ("OLLAMA_NUM_PARALLEL", "four", "whole number"),
        ("OLLAMA_CONTEXT_LENGTH", "-1", "at least 0"),
        ("OLLAMA_NUM_GPU", "-5", "at least 0"),
        ("OLLAMA_FLASH_ATTENTION", "perhaps", "true or false"),
        ("OLLAMA_KV_CACHE_TYPE", "q8", "did you mean q8_0"),
        ("OLLAMA_KEEP_ALIVE", "soon", "a duration such as 5m"),
        ("OLLAMA_LOAD_TIMEOUT", "5 minutes", "a duration such as 5m"),
        ("MODEL_NAME", "/no/such.gguf", "there is no file or folder"),
        ("MODEL_NAME", "./no/such/folder", "there is no file or folder"),
        ("MODEL_NAME", "gpt-oss:120b-cloud", "ollama.com's computers"),
        ("MODEL_NAME", "", "which model"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(
    configure: Configure, variable: str, value: str, words: str
) -> None:
    with pytest.raises(SettingsError) as wrong:
        configure(**{variable: value})
    assert [(problem.variable, words in str(problem)) for problem in wrong.value.problems] == [(variable, True)]


@pytest.mark.parametrize("value", ["5m", "-1", "300", "1h30m", "1.5h", "0", "-5m", "250ms"])
def test_durations_as_ollama_takes_them(configure: Configure, value: str) -> None:
    assert configure(OLLAMA_KEEP_ALIVE=value).environ()["OLLAMA_KEEP_ALIVE"] == value


def test_everything_that_is_wrong_is_said_at_once(configure: Configure) -> None:
    with pytest.raises(SettingsError) as wrong:
        configure(OLLAMA_NUM_PARALLEL="0", OLLAMA_KEEP_ALIVE="soon", MODEL_NAME="/no/such.gguf", OLLAMA_NUM_THREAD="0")
    named = {problem.variable for problem in wrong.value.problems}
    assert named == {"OLLAMA_NUM_PARALLEL", "OLLAMA_KEEP_ALIVE", "MODEL_NAME", "OLLAMA_NUM_THREAD"}


def test_weights_of_another_format_and_adapters(configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"x")
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    for name, words in (("model.pt", "PyTorch weights"), ("adapter", "LoRA adapter"), ("empty", "no weights")):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(SettingsError, match=words):
            configure(MODEL_NAME=str(tmp_path / name))


def test_models_are_kept_on_the_volume(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    values = {"ENGINE": "ollama", "MODEL_NAME": "a", "BASE_PATH": str(volume)}
    assert "OLLAMA_MODELS" not in opened(OllamaEngine, Environment.of(values)).environ()
    volume.mkdir()
    kept = opened(OllamaEngine, Environment.of(values)).environ()["OLLAMA_MODELS"]
    assert kept == str(volume / "ollama" / "models")
    chosen = opened(OllamaEngine, Environment.of({**values, "OLLAMA_MODELS": "/models"}))
    assert chosen.environ()["OLLAMA_MODELS"] == "/models"
