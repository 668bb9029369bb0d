"""The conformance kit, against the engine over the stand-in. No Ollama in it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from real_engine import opened

from engineroom.engine import Engine
from engineroom.process import descendants
from engineroom.settings import Environment
from engineroom.testing import Expectations, Lifecycle
from engineroom.testing.suite import target as target
from engineroom.testing.suite import test_conformance, test_lifecycle
from engineroom_ollama import OllamaEngine

from .conftest import settings

__all__ = ["test_conformance", "test_lifecycle"]


@pytest.fixture(scope="module")
def lifecycle(tmp_path_factory: pytest.TempPathFactory) -> Lifecycle:
    folder = tmp_path_factory.mktemp("ollama")

    def make(**variables: str) -> OllamaEngine:
        more = {"ENGINE_HANG_TIMEOUT": "20", "OLLAMA_CONTEXT_LENGTH": "2048"}
        return opened(OllamaEngine, Environment.of(settings(folder, **more, **variables)))

    return Lifecycle(make, lambda: make(MODEL_NAME="no-such-model"), kill)


@pytest.fixture(scope="module")
def expectations() -> Expectations:
    return Expectations(max_model_len=2048)


async def kill(engine: Engine) -> None:
    """End the server as the kernel does when memory runs out."""
    for pid in descendants(os.getpid()):
        if b"standin_ollama.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
