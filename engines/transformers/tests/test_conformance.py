"""The conformance kit against real transformers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engineroom.asgi import request
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


@contextmanager
def hang(engine: Engine) -> Iterator[None]:
    """Block the batch's thread, as a deadlock would."""
    assert isinstance(engine, TransformersEngine)
    assert engine._batch is not None
    processor = engine._batch._manager.batch_processor
    prepare = processor.prepare_next_batch
    ended = threading.Event()

    def wait_and_prepare(*args: object) -> object:
        ended.wait()
        return prepare(*args)

    processor.prepare_next_batch = wait_and_prepare
    try:
        yield
    finally:
        ended.set()
        processor.prepare_next_batch = prepare


async def test_a_thread_that_hangs_for_good_ends_its_engine(
    configure: Callable[..., TransformersEngine], tiny: Path
) -> None:
    engine = configure(MODEL_NAME=str(tiny), ENGINE_HANG_TIMEOUT="1")
    await engine.start()
    with hang(engine):
        body = {"model": engine.models[0], "messages": [{"role": "user", "content": "Hi"}]}
        async with request(engine.app, "POST", "/v1/chat/completions", json=body) as response:
            assert (response.status, b"engine_dead" in await response.read()) == (503, True)
        assert "hung: nothing generated for" in await engine.died()
        await engine.stop()


@pytest.fixture
def lifecycle(configure: Callable[..., TransformersEngine], tiny: Path, tmp_path: Path) -> Lifecycle:
    (tmp_path / "config.json").write_text('{"model_type": "no-such-architecture"}')
    return Lifecycle(
        lambda: configure(MODEL_NAME=str(tiny), ENGINE_HANG_TIMEOUT="20"),
        make_broken=lambda: configure(MODEL_NAME=str(tmp_path)),
        kill=kill,
        hang=hang,
    )
