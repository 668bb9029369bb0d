"""The conformance kit through the router in front of several models: every check, as of any engine."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping

import pytest
from llamacpp_made import SMALL, in_so_many_words

from engineroom import plugins
from engineroom.settings import Environment
from engineroom.testing import Expectations, Lifecycle, Target, engine_target, running
from engineroom.testing.lifecycle import nothing_is_left_behind, stop_is_idempotent
from engineroom.testing.suite import anyio_backend, test_conformance

__all__ = ["anyio_backend", "test_conformance"]

ECHO = {"engine": "echo", "echo_max_model_len": 2048, "echo_tokens_per_s": 1000}
LLAMACPP = {"engine": "llamacpp", **{name.lower(): value for name, value in SMALL.items()}}
ENGINES: Mapping[str, tuple[Mapping[str, object], Expectations]] = {
    "echo": (
        ECHO,
        Expectations(
            model="asked",
            max_model_len=2048,
            running_metric="engineroom_echo_running",
            saying=lambda text: {},
        ),
    ),
    "llamacpp": (
        LLAMACPP,
        Expectations(model="asked", running_metric="llamacpp:requests_processing", saying=in_so_many_words),
    ),
}


def several(asked: Mapping[str, object]) -> Environment:
    """Room for one of two models, of which the one that is loaded at first is not the one that is asked for."""
    table = [
        {"name": "first", **asked, "memory": "1 GB", "preload": True},
        {"name": "asked", "aliases": ["by another name"], **asked, "memory": "1 GB"},
    ]
    return Environment.of({"MODELS": json.dumps(table), "MODELS_MEMORY_GB": 1})


@pytest.fixture(scope="module", params=list(ENGINES))
async def target(anyio_backend: str, request: pytest.FixtureRequest) -> AsyncIterator[Target]:
    entry, expectations = ENGINES[request.param]
    async with running(plugins.open_engine(several(entry))) as models:
        yield engine_target(models, expectations)


@pytest.mark.anyio
@pytest.mark.parametrize("engine", list(ENGINES))
async def test_several_models_are_stopped_as_any_engine(engine: str) -> None:
    kinds = Lifecycle(lambda: plugins.open_engine(several(ENGINES[engine][0])))
    for check in (stop_is_idempotent, nothing_is_left_behind):
        await check(kinds)
