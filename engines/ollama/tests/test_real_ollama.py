"""Real Ollama, where `ollama` is on PATH and OLLAMA_TEST_MODEL names a small model that it has or may pull."""

from __future__ import annotations

import os
import shutil

import pytest
from real_engine import opened

from engineroom.settings import Environment
from engineroom.testing import Expectations, Lifecycle
from engineroom.testing.suite import target as target
from engineroom.testing.suite import test_conformance, test_lifecycle
from engineroom_ollama import OllamaEngine

__all__ = ["test_conformance", "test_lifecycle"]

MODEL = os.environ.get("OLLAMA_TEST_MODEL", "")
pytestmark = [
    pytest.mark.skipif(shutil.which("ollama") is None, reason="no Ollama here: `ollama` is not on PATH"),
    pytest.mark.skipif(not MODEL, reason="OLLAMA_TEST_MODEL names no model, e.g. llama3.2:1b"),
    pytest.mark.timeout(1200),
]


KNOWN = {"ENGINE": "ollama", "MODEL_NAME": MODEL, "OLLAMA_CONTEXT_LENGTH": "2048", "ENGINE_HANG_TIMEOUT": "20"}
if "OLLAMA_MODELS" in os.environ:
    KNOWN["OLLAMA_MODELS"] = os.environ["OLLAMA_MODELS"]


def make(**variables: str) -> OllamaEngine:
    return opened(OllamaEngine, Environment.of({**KNOWN, **variables}))


@pytest.fixture(scope="module")
def lifecycle() -> Lifecycle:
    return Lifecycle(make, lambda: make(MODEL_NAME="no-such-model"))


@pytest.fixture(scope="module")
def expectations() -> Expectations:
    return Expectations(max_model_len=2048)
