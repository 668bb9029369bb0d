"""The conformance kit against real llama.cpp."""

from __future__ import annotations

from pathlib import Path

import pytest
from llamacpp_made import kill, make

from engineroom.testing import Lifecycle
from engineroom.testing.suite import test_conformance, test_lifecycle

__all__ = ["test_conformance", "test_lifecycle"]


@pytest.fixture
def lifecycle(tmp_path: Path) -> Lifecycle:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF and then nothing of use")
    return Lifecycle(lambda: make(ENGINE_HANG_TIMEOUT=20), make_broken=lambda: make(MODEL_NAME=str(broken)), kill=kill)
