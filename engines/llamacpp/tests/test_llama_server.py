"""The conformance kit against a real llama-server binary, where there is one."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator

import pytest
from llamacpp_made import make

from engineroom.testing import CHECKS, Check, Expectations, NotOffered, Target, engine_target

BINARY = shutil.which(os.environ.get("LLAMA_SERVER") or "llama-server")

pytestmark = pytest.mark.skipif(BINARY is None, reason="no llama-server on PATH or in LLAMA_SERVER")


@pytest.fixture(scope="module")
async def binary() -> AsyncIterator[Target]:
    engine = make(LLAMA_SERVER=BINARY)
    try:
        await engine.start()
        expectations = Expectations(
            model=engine.models[0],
            max_model_len=2048,
            running_metric="llamacpp:requests_processing",
            fields={"temperature": 0},
        )
        yield engine_target(engine, expectations)
    finally:
        await engine.stop()


@pytest.mark.parametrize("check", CHECKS, ids=str)
async def test_conformance(check: Check, binary: Target) -> None:
    try:
        await check(binary)
    except NotOffered as reason:
        pytest.skip(f"not offered: {reason}")
