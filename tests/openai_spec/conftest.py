"""A served echo engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from http_door import serving

MODELS = ("echo", "org/echo")


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """The API's root on a server whose engine echoes."""
    with serving({"SERVED_MODEL_NAME": ",".join(MODELS), "ECHO_MAX_MODEL_LEN": "4096"}) as door:
        yield f"{door.url}/v1"
