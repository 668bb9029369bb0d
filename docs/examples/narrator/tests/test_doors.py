"""What every engine owes at both doors."""

import pytest

from engineroom_workers.testing import DoorExpectations
from engineroom_workers.testing.suite import *  # noqa: F403


@pytest.fixture(scope="module")
def worker() -> dict[str, str]:
    return {"ENGINE": "narrator"}


@pytest.fixture(scope="module")
def door_expectations() -> DoorExpectations:
    endless = {"max_tokens": 1500}
    return DoorExpectations(
        models=("narrator",), running_metric="narrator_running", max_model_len=4096, endless=endless
    )
