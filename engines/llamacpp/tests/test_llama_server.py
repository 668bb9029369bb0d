"""The conformance kit against a real llama-server binary, where there is one."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator

import pytest
from llamacpp_made import make

from engineroom.testing import Target, running
from engineroom.testing.suite import test_conformance

from .conftest import target_of

__all__ = ["test_conformance"]

BINARY = shutil.which(os.environ.get("LLAMA_SERVER") or "llama-server")

pytestmark = pytest.mark.skipif(BINARY is None, reason="no llama-server on PATH or in LLAMA_SERVER")


@pytest.fixture(scope="module")
async def target() -> AsyncIterator[Target]:
    async with running(make(LLAMA_SERVER=BINARY)) as engine:
        yield target_of(engine)
