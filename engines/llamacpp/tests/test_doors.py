"""Both doors as processes of their own and OpenAI's own client, over real llama.cpp."""

from __future__ import annotations

import pytest
from llamacpp_made import SMALL
from small_model import small_model

from engineroom_workers.testing import DoorExpectations
from engineroom_workers.testing.suite import *  # noqa: F403


@pytest.fixture(scope="module")
def worker() -> dict[str, str]:
    names = {"ENGINE": "llamacpp", "OPENAI_SERVED_MODEL_NAME_OVERRIDE": "smol, alias"}
    return {**names, **{name: str(value) for name, value in SMALL.items()}}


@pytest.fixture(scope="module")
def door_expectations() -> DoorExpectations:
    return small_model("llamacpp:requests_processing")
