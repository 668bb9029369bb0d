"""A server for clients to judge."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from http_door import serving

collect_ignore = ["langchain"]
"""LangChain's own suite has an environment and settings of its own: `make clients`."""


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """The root of a server whose engine echoes."""
    with serving({"ECHO_MAX_MODEL_LEN": "8192"}) as door:
        yield door.url
