"""The cache that llama.cpp really makes for the small model, against what is said beforehand."""

from __future__ import annotations

import re

import llamacpp_made
import pytest

from engineroom.memory import MIB
from engineroom_llamacpp import LlamaCppEngine
from engineroom_llamacpp.models import packaged
from engineroom_operations.fit import read_model, request_cache_bytes

_INFO = 4


@pytest.mark.parametrize("context", [2048])
async def test_llamacpp_makes_a_cache_as_large_as_foretold(context: int) -> None:
    engine = llamacpp_made.make(CTX_SIZE=context, PARALLEL=2, LOG_VERBOSITY=_INFO)
    try:
        await engine.start()
        log = "\n".join(engine.log())
    finally:
        await engine.stop()
    stated = re.search(r"llama_kv_cache: size = +([\d.]+) MiB", log)
    assert stated, log[-2000:]
    profile = LlamaCppEngine.memory
    assert profile is not None
    shape = read_model(str(packaged())).architecture
    foretold = request_cache_bytes(shape, profile, context)
    assert foretold / MIB == pytest.approx(float(stated[1]), rel=0.1)
