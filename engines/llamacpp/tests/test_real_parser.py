"""The snapshot and the library's parameters, held against llama.cpp's own command-line parser."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engineroom_llamacpp import flags
from engineroom_llamacpp.child import CHOICES, SUPPORTED, common_params

TOOLS = Path(__file__).parents[1] / "tools"
TEMPLATE = Path(__file__).with_name("data") / "chatml_with_tools.jinja"

GIVEN: dict[str, Any] = {
    "chat_template": "chatml",
    "chat_template_file": str(TEMPLATE),
    "chat_template_kwargs": '{"a": 1, "b": "c"}',
    "dry_base": 1.5,
    "fit": "off",
    "lazy_mode": "on",
    "load_mode": "mmap+mlock",
    "lora": "a.gguf,b.gguf",
    "lora_scaled": "a.gguf:0.5",
    "media_path": "/tmp",
    "mmproj_device": "none",
    "n_gpu_layers": "all",
    "numa": "isolate",
    "reasoning": "off",
    "reasoning_effort": "low",
    "reasoning_format": "deepseek-legacy",
    "samplers": "top_k;temperature",
    "tensor_split": "3,1",
}
"""Values that not any value would do for."""

DRAFT = "speculative.draft."
"""The draft model's parameters, which the parser copies from the model's own; the library runs none."""


def value_of(flag: Any) -> Any:
    if flag.name in GIVEN:
        return GIVEN[flag.name]
    if flag.choices:
        return flag.choices[-1]
    return {"int": 3, "float": 0.5, "bool": False, "switch": True, "str": "x"}[flag.kind]


@pytest.fixture(scope="module")
def parsed() -> dict[str, tuple[Any, Any]]:
    """For each supported flag a value, and the CommonParams that llama.cpp's parser makes of it."""
    values = {flag.name: value_of(flag) for flag in flags.snapshot().flags if flag.name in SUPPORTED}
    lines = "".join(json.dumps(flags.argv({name: value})) + "\n" for name, value in values.items())
    command = [sys.executable, str(TOOLS / "real_parser.py"), "params"]
    said = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=60, check=True).stdout
    found = [json.loads(line) for line in said.splitlines() if line.startswith(("{", "null"))]
    return {name: (values[name], params) for name, params in zip(values, found, strict=True)}


@pytest.mark.parametrize("name", sorted(SUPPORTED))
def test_a_flag_means_to_the_library_what_it_means_to_llama_cpp(name: str, parsed: dict[str, tuple[Any, Any]]) -> None:
    value, wanted = parsed[name]
    assert wanted is not None, f"llama.cpp refuses {name} {value}"
    ours = _values(common_params({name: value}))
    differing = {key: (ours.get(key), wanted.get(key)) for key in ours.keys() | wanted.keys()}
    left_to_the_machine = {key for key in ours if key.endswith("n_threads") and ours[key] == -1}
    assert not {
        key: pair
        for key, pair in differing.items()
        if pair[0] != pair[1] and key not in left_to_the_machine and not key.startswith(DRAFT)
    }


def test_every_choice_is_known_to_the_library() -> None:
    for flag in flags.snapshot().flags:
        for choice in (flag.choices or ()) if flag.name in CHOICES else ():
            common_params({flag.name: choice})


def test_the_snapshot_has_not_drifted() -> None:
    drift = [sys.executable, str(TOOLS / "drift.py")]
    done = subprocess.run(drift, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}`make drift ENGINE=llamacpp ARGS=--write` refreshes it"


def _values(params: Any) -> dict[str, Any]:
    import importlib.util

    spec = importlib.util.spec_from_file_location("real_parser", TOOLS / "real_parser.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    values: dict[str, Any] = json.loads(json.dumps(module.values(params), default=str))
    return values
