"""Both doors as processes of their own and OpenAI's own client, over real llama.cpp."""

from __future__ import annotations

import pytest
from door_suite import *  # noqa: F403
from door_suite import Behind
from llamacpp_made import SMALL


@pytest.fixture(scope="module")
def worker() -> dict[str, str]:
    names = {"ENGINE": "llamacpp", "OPENAI_SERVED_MODEL_NAME_OVERRIDE": "smol, alias"}
    return {**names, **{name: str(value) for name, value in SMALL.items()}}


@pytest.fixture(scope="module")
def behind() -> Behind:
    return Behind(("smol", "alias"), "llamacpp:requests_processing")
