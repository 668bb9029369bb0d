"""The conformance kit against real OpenVINO GenAI."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from engineroom.engine import Engine
from engineroom.testing import CHECKS, Check, Lifecycle, NotOffered, Target
from engineroom.testing.suite import test_lifecycle
from engineroom_openvino import OpenVINOEngine

__all__ = ["test_lifecycle"]

pytestmark = [pytest.mark.real_openvino, pytest.mark.timeout(300)]


@pytest.mark.parametrize("check", CHECKS, ids=str)
async def test_conformance(check: Check, target: Target) -> None:
    try:
        await check(target)
    except NotOffered as reason:
        if str(reason) != "logprobs":
            pytest.fail(f"OpenVINO has it, but here: {reason}")


def child(engine: Engine) -> int:
    """The id of the process that runs the model, below its reaper."""
    assert isinstance(engine, OpenVINOEngine)
    assert engine._process is not None
    reaper = engine._process._process._reaper.pid
    with open(f"/proc/{reaper}/task/{reaper}/children", encoding="ascii") as children:
        return int(children.read().split()[0])


async def kill(engine: Engine) -> None:
    """End the process that runs the model, as a bug in OpenVINO would."""
    os.kill(child(engine), signal.SIGSEGV)


@contextmanager
def hang(engine: Engine) -> Iterator[None]:
    """Stop the process that runs the model."""
    process = child(engine)
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


@pytest.fixture
def lifecycle(configure: Callable[..., OpenVINOEngine], tmp_path_factory: pytest.TempPathFactory) -> Lifecycle:
    damaged = tmp_path_factory.mktemp("damaged") / "model.gguf"
    damaged.write_bytes(b"GGUF\x03\0\0\0" + bytes(100))
    return Lifecycle(
        lambda: configure(ENGINE_HANG_TIMEOUT="20"),
        make_broken=lambda: configure(MODEL_NAME=str(damaged)),
        kill=kill,
        hang=hang,
    )
