"""What several tests of the HTTP door share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser import Browser, running_browser


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One for all tests: each has a tab in a profile of its own."""
    with running_browser(tmp_path_factory.mktemp("browser")) as running:
        yield running
