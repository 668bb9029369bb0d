"""The conformance kit against real llama.cpp."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest
from llamacpp_made import make

from engineroom.engine import Engine
from engineroom.testing import CHECKS, LIFECYCLE_CHECKS, Check, Lifecycle, NotOffered, Target


@pytest.mark.parametrize("check", CHECKS, ids=str)
async def test_conformance(check: Check, target: Target) -> None:
    try:
        await check(target)
    except NotOffered as reason:
        pytest.skip(f"not offered: {reason}")


async def kill(engine: Engine) -> None:
    """The server process only, as the kernel would when memory is short."""
    family = psutil.Process().children(recursive=True)
    newest = max(
        (p for p in family if "child.py" in " ".join(p.cmdline()) and "keeper" not in p.cmdline()[2]), key=_age
    )
    os.kill(newest.pid, signal.SIGKILL)


def _age(process: psutil.Process) -> float:
    return float(process.create_time())


@pytest.mark.parametrize("check", LIFECYCLE_CHECKS, ids=lambda check: check.__name__)
async def test_lifecycle(check: Lifecycle, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF and then nothing of use")
    try:
        await check(Lifecycle(make, make_broken=lambda: make(MODEL_NAME=str(broken)), kill=kill))  # type: ignore[operator]
    except NotOffered as reason:
        pytest.skip(f"not offered: {reason}")
