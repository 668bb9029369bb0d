"""Fixtures: a Python that pretends to have vLLM, and, once a session, real vLLM."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engineroom.environment import Environment
from engineroom.house import open_engine
from engineroom_vllm.engine import VLLMEngine

STANDIN = Path(__file__).with_name("standin_vllm.py")


@pytest.fixture
def standin_python(tmp_path: Path) -> Callable[[str], str]:
    """A command that stands in for a Python with vLLM of a version: it tells that version, and serves a stand-in."""

    def make(version: str = "0.32.0") -> str:
        python = tmp_path / f"standin-python-{version or 'none'}"
        python.write_text(f'#!/bin/sh\n[ "$1" = -I ] && echo "{version}" || exec {sys.executable} {STANDIN} "$@"\n')
        python.chmod(0o755)
        return str(python)

    return make


@pytest.fixture
def configure(
    standin_python: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., VLLMEngine]:
    """An engine from variables as a user sets them; aliases, defaults and the check of names as in a real start."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("NVIDIA_VISIBLE_DEVICES", raising=False)

    def open_(version: str = "0.32.0", **variables: str) -> VLLMEngine:
        values = {"ENGINE": "vllm", "MODEL_NAME": "org/model", "BASE_PATH": str(tmp_path / "no-volume")}
        engine = open_engine(Environment.of({**values, "VLLM_PYTHON": standin_python(version), **variables}))
        assert isinstance(engine, VLLMEngine)
        return engine

    return open_
