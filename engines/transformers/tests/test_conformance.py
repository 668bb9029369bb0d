"""The conformance kit against real transformers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engineroom.engine import Engine
from engineroom.testing import CHECKS, Check, Lifecycle, NotOffered, Target
from engineroom.testing.suite import test_lifecycle
from engineroom_transformers import TransformersEngine

__all__ = ["test_lifecycle"]

pytestmark = [pytest.mark.real_transformers, pytest.mark.timeout(300)]


@pytest.mark.parametrize("check", CHECKS, ids=str)
async def test_conformance(check: Check, tools: Target) -> None:
    try:
        await check(tools)
    except NotOffered as reason:
        pytest.fail(f"transformers has all of it, but here: {reason}")


async def kill(engine: Engine) -> None:
    """Break the batch's thread, as a bug or a full GPU would."""
    assert isinstance(engine, TransformersEngine)
    assert engine._batch is not None

    def broken() -> bool:
        raise RuntimeError("the test broke it")

    engine._batch._manager.batch_processor.prepare_next_batch = broken


@pytest.fixture
def lifecycle(configure: Callable[..., TransformersEngine], tiny: Path, tmp_path: Path) -> Lifecycle:
    (tmp_path / "config.json").write_text('{"model_type": "no-such-architecture"}')
    return Lifecycle(
        lambda: configure(MODEL_NAME=str(tiny)), make_broken=lambda: configure(MODEL_NAME=str(tmp_path)), kill=kill
    )
