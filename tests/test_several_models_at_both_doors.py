"""Several models behind both doors, with OpenAI's own client: what every engine owes there holds through the router."""

from __future__ import annotations

import json

import pytest

from engineroom_workers.testing import DoorExpectations
from engineroom_workers.testing.suite import *  # noqa: F403

MODELS = [
    {"name": "large", "engine": "echo", "memory": "2 GB", "echo_max_model_len": 2048, "echo_tokens_per_s": 1000},
    {"name": "small", "engine": "echo", "memory": "2 GB", "echo_max_model_len": 2048},
]


@pytest.fixture(scope="module")
def worker() -> dict[str, str]:
    return {"MODELS": json.dumps(MODELS), "MODELS_MEMORY_GB": "3"}


@pytest.fixture(scope="module")
def door_expectations() -> DoorExpectations:
    return DoorExpectations(
        models=("large", "small"),
        running_metric="engineroom_echo_running",
        max_model_len=2048,
        continuation="1 2 3",
        sampling_params={"top_k": 1},
    )
