"""The conformance kit, against the engine over the stand-in. No SGLang in it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from real_engine import opened

from engineroom.engine import Engine
from engineroom.process import descendants
from engineroom.settings import Environment
from engineroom.testing import Expectations, Lifecycle
from engineroom.testing.suite import target as target
from engineroom.testing.suite import test_conformance, test_lifecycle
from engineroom_sglang import SGLangEngine

from .conftest import settings

__all__ = ["test_conformance", "test_lifecycle"]


@pytest.fixture(scope="module")
def lifecycle(tmp_path_factory: pytest.TempPathFactory) -> Lifecycle:
    folder = tmp_path_factory.mktemp("sglang")

    def make(version: str = "0.5.23") -> SGLangEngine:
        return opened(
            SGLangEngine,
            Environment.of(settings(folder, version, ENGINE_HANG_TIMEOUT="20", ENABLE_DETERMINISTIC_INFERENCE="true")),
        )

    return Lifecycle(make, lambda: make(""), kill)


@pytest.fixture(scope="module")
def expectations() -> Expectations:
    return Expectations(max_model_len=2048, running_metric="sglang:num_running_reqs")


async def kill(engine: Engine) -> None:
    """End the server as the kernel does when memory runs out."""
    for pid in descendants(os.getpid()):
        if b"standin_sglang.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
