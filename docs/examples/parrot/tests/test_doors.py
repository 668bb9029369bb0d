"""What every engine owes at both doors."""

import pytest

from engineroom_workers.testing import DoorExpectations
from engineroom_workers.testing.suite import *  # noqa: F403


@pytest.fixture(scope="module")
def worker() -> dict[str, str]:
    return {"ENGINE": "parrot"}


@pytest.fixture(scope="module")
def door_expectations() -> DoorExpectations:
    return DoorExpectations(models=("parrot",), running_metric="parrot_running", max_model_len=4096)
