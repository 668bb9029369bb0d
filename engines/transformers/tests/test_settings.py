"""What is known before anything is loaded: no torch is needed, or imported, for any of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engineroom.errors import SettingsError
from engineroom.plugins import open_engine
from engineroom.settings import Environment
from engineroom_transformers import TransformersEngine

COMMAND = str(Path(sys.executable).with_name("engineroom"))


def problems(tmp_path: Path, **variables: str) -> str:
    usual = {"ENGINE": "transformers", "MODEL_NAME": str(tmp_path)}
    with pytest.raises(SettingsError) as refused:
        open_engine(Environment.of({**usual, **variables}))
    return str(refused.value)


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"MODEL_NAME": ""}, "MODEL_NAME"),
        ({"MODEL_NAME": "/no/such/folder"}, "/no/such/folder"),
        ({"CHAT_TEMPLATE": "/no/such.jinja"}, "CHAT_TEMPLATE"),
        ({"DTYPE": "int3"}, "DTYPE"),
        ({"DEVICE": "tpu"}, "DEVICE"),
        ({"QUANTIZATION": "awq"}, "QUANTIZATION"),
        ({"TENSOR_PARALLEL_SIZE": "0"}, "TENSOR_PARALLEL_SIZE"),
        ({"MAX_NUM_SEQS": "many"}, "MAX_NUM_SEQS"),
        ({"GPU_MEMORY_UTILIZATION": "1.5"}, "GPU_MEMORY_UTILIZATION"),
        ({"ATTN_IMPLEMENTION": "sdpa"}, "did you mean ATTN_IMPLEMENTATION?"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_is_wrong_is_named(tmp_path: Path, variables: dict[str, str], told: str) -> None:
    assert told in problems(tmp_path, **variables)


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    told = problems(tmp_path, MODEL_NAME="/no/such/folder", CHAT_TEMPLATE="/no/such.jinja")
    assert "MODEL_NAME" in told
    assert "CHAT_TEMPLATE" in told


@pytest.mark.parametrize(
    ("model", "served"),
    [("org/Some-Model", "org/Some-Model"), ("folder/SmolLM2", "SmolLM2"), ("folder/small.gguf", "small")],
)
def test_a_model_is_served_under_its_name(tmp_path: Path, model: str, served: str) -> None:
    if model.startswith("folder/"):
        path = tmp_path / model
        path.parent.mkdir()
        path.touch() if path.suffix else path.mkdir()
        model = str(path)
    assert open_engine(Environment.of({"ENGINE": "transformers", "MODEL_NAME": model})).models == (served,)


def test_models_have_other_names_where_told(tmp_path: Path) -> None:
    named = {"ENGINE": "transformers", "MODEL_NAME": str(tmp_path), "OPENAI_SERVED_MODEL_NAME_OVERRIDE": "a, b"}
    assert open_engine(Environment.of(named)).models == ("a", "b")


def test_what_is_missing_is_said_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_spec(name: str) -> Any:
        return None if name == "torch" else object()

    monkeypatch.setattr("engineroom_transformers.engine.find_spec", find_spec)
    (needed,) = TransformersEngine.requirements(Environment.of({}))
    assert not needed.met
    assert "engines/transformers[engine]" in needed.remedy
    assert "missing: torch" in needed.remedy


def test_a_start_without_torch_says_what_to_type(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('No module named torch')")
    (tmp_path / "transformers.py").write_text("import torch")
    environ = {**os.environ, "ENGINE": "transformers", "MODEL_NAME": str(tmp_path), "PORT": "0"}
    environ["PYTHONPATH"] = str(tmp_path)
    done = subprocess.run([COMMAND, "serve"], capture_output=True, text=True, timeout=60, env=environ, check=False)
    assert done.returncode != 0
    # pip where the environment has it, uv where uv made it.
    assert "pip install " in done.stderr
    assert " -e " in done.stderr
    assert "engines/transformers[engine]'`" in done.stderr
    assert "Traceback" not in done.stderr


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, env=os.environ
    )
    return done.stdout.strip()


def test_nothing_heavy_is_imported_before_the_start(tmp_path: Path) -> None:
    code = f"""
import sys
from engineroom.settings.environment import Environment
from engineroom.plugins import open_engine
engine = open_engine(Environment.of({{"ENGINE": "transformers", "MODEL_NAME": {str(tmp_path)!r}}}))
engine.requirements(Environment.of({{}})), engine.models, engine.routes
print([name for name in ("torch", "transformers", "llguidance", "numpy", "jinja2") if name in sys.modules])
"""
    assert run(code) == "[]"


def test_config_shows_its_settings(tmp_path: Path) -> None:
    environ = {**os.environ, "ENGINE": "transformers", "MODEL_NAME": str(tmp_path), "DTYPE": "bfloat16"}
    done = subprocess.run(
        [COMMAND, "config", "--all"], capture_output=True, text=True, timeout=60, env=environ, check=False
    )
    assert done.returncode == 0, done.stderr
    for name in ("ATTN_IMPLEMENTATION", "KV_CACHE_TOKENS", "bfloat16"):
        assert name in done.stdout


def test_a_problem_ends_the_door_before_anything_loads() -> None:
    environ = {**os.environ, "ENGINE": "transformers", "MODEL_NAME": "/no/such/folder"}
    done = subprocess.run([COMMAND, "serve"], capture_output=True, text=True, timeout=60, env=environ, check=False)
    assert done.returncode != 0
    assert "MODEL_NAME" in done.stderr
    assert "/no/such/folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_encoder_s_routes_and_a_text_model_s_are_told_before_the_start(
    configure: Callable[..., TransformersEngine], tmp_path: Path
) -> None:
    paths = {route.path for route in configure(MODEL_NAME=str(tmp_path)).routes}
    assert {"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/models"} <= paths
