"""What every engine owes at both doors, with the engine over the stand-in. No SGLang in it."""

from __future__ import annotations

import pytest

from engineroom_workers.testing import DoorExpectations
from engineroom_workers.testing.suite import *  # noqa: F403

from .conftest import MODEL, settings


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return settings(tmp_path_factory.mktemp("sglang"), ENABLE_DETERMINISTIC_INFERENCE="true")


@pytest.fixture(scope="module")
def door_expectations() -> DoorExpectations:
    return DoorExpectations(
        models=(MODEL,),
        running_metric="sglang:num_running_reqs",
        max_model_len=2048,
        sampling_params={"top_k": 1, "min_p": 0.1},
        endless={"max_tokens": 1500, "ignore_eos": True},
    )
