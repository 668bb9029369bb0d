"""The conformance kit against real llama.cpp."""

from __future__ import annotations

from pathlib import Path

import pytest
from llamacpp_made import kill, make

from engineroom.testing import CHECKS, LIFECYCLE_CHECKS, Check, Lifecycle, NotOffered, Target


@pytest.mark.parametrize("check", CHECKS, ids=str)
async def test_conformance(check: Check, target: Target) -> None:
    try:
        await check(target)
    except NotOffered as reason:
        pytest.skip(f"not offered: {reason}")


@pytest.mark.parametrize("check", LIFECYCLE_CHECKS, ids=lambda check: check.__name__)
async def test_lifecycle(check: Lifecycle, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF and then nothing of use")
    try:
        await check(Lifecycle(make, make_broken=lambda: make(MODEL_NAME=str(broken)), kill=kill))  # type: ignore[operator]
    except NotOffered as reason:
        pytest.skip(f"not offered: {reason}")
