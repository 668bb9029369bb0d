"""Both doors over real Ollama, where `ollama` is on PATH and OLLAMA_TEST_MODEL names a small model."""

from __future__ import annotations

import pytest

from engineroom_workers.testing import DoorExpectations
from engineroom_workers.testing.suite import *  # noqa: F403

from .test_real_ollama import KNOWN, MODEL
from .test_real_ollama import pytestmark as pytestmark


@pytest.fixture(scope="module")
def worker() -> dict[str, str]:
    return KNOWN


@pytest.fixture(scope="module")
def door_expectations() -> DoorExpectations:
    steering = {"top_k": 1, "min_p": 0.1}
    return DoorExpectations(models=(MODEL,), max_model_len=2048, sampling_params=steering, endless={"max_tokens": 1500})
