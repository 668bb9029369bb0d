"""What is known before anything is loaded: no OpenVINO is needed, or imported, for any of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engineroom.errors import SettingsError
from engineroom.plugins import open_engine
from engineroom.settings import Environment


def problems(**variables: str) -> str:
    usual = {"ENGINE": "openvino", "MODEL_NAME": "org/name"}
    with pytest.raises(SettingsError) as refused:
        open_engine(Environment.of({**usual, **variables}))
    return str(refused.value)


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"MODEL_NAME": ""}, "MODEL_NAME"),
        ({"MODEL_NAME": "/no/such/folder"}, "/no/such/folder"),
        ({"CHAT_TEMPLATE": "/no/such.jinja"}, "CHAT_TEMPLATE"),
        ({"DEVICE": "tpu"}, "DEVICE"),
        ({"DEVICE": "NPU"}, "OpenVINO batches requests on CPUs and GPUs"),
        ({"KV_CACHE_PRECISION": "int3"}, "KV_CACHE_PRECISION"),
        ({"KV_CACHE_TOKENS": "1"}, "KV_CACHE_TOKENS"),
        ({"MAX_NUM_SEQS": "many"}, "MAX_NUM_SEQS"),
        ({"PLUGIN_CONFIG": "CACHE_DIR=/cache"}, "PLUGIN_CONFIG"),
        ({"KV_CACHE_TOKEN": "64"}, "did you mean KV_CACHE_TOKENS?"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(variables: dict[str, str], named: str) -> None:
    assert named in problems(**variables)


def test_weights_of_another_format_are_refused_with_who_loads_them(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    assert "ENGINE=openvino loads OpenVINO IR or GGUF; " in problems(MODEL_NAME=str(tmp_path))


@pytest.mark.parametrize(
    ("model", "served"), [("OpenVINO/Qwen3-8B-int4-ov", "OpenVINO/Qwen3-8B-int4-ov"), ("folder/small.gguf", "small")]
)
def test_a_model_is_served_under_its_name(tmp_path: Path, model: str, served: str) -> None:
    if model.endswith(".gguf"):
        path = tmp_path / model
        path.parent.mkdir()
        path.touch()
        model = str(path)
    assert open_engine(Environment.of({"ENGINE": "openvino", "MODEL_NAME": model})).models == (served,)


def test_nothing_heavy_is_imported_before_the_start() -> None:
    code = """
import sys
from engineroom.settings import Environment
from engineroom.plugins import open_engine
engine = open_engine(Environment.of({"ENGINE": "openvino", "MODEL_NAME": "org/name"}))
engine.requirements(Environment.of({})), engine.models, engine.routes
print([name for name in ("openvino", "openvino_genai", "numpy", "jinja2") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_a_start_without_the_library_says_what_to_type(tmp_path: Path) -> None:
    (tmp_path / "openvino.py").write_text("raise ImportError('No module named openvino')")
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    environ = {**os.environ, "ENGINE": "openvino", "MODEL_NAME": str(tmp_path / "model.gguf"), "PORT": "0"}
    environ["PYTHONPATH"] = str(tmp_path)
    command = str(Path(sys.executable).with_name("engineroom"))
    done = subprocess.run([command, "serve"], capture_output=True, text=True, timeout=60, env=environ, check=False)
    assert done.returncode != 0
    assert "No module named openvino" in done.stderr or "engines/openvino[engine]" in done.stderr
    assert "Traceback" not in done.stderr
