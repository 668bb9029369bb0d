"""The conformance kit as pytest's tests. A test module imports all of it, and says how engines are made:

    from engineroom.testing import Expectations, Lifecycle
    from engineroom.testing.suite import *

    @pytest.fixture(scope="module")
    def lifecycle():
        return Lifecycle(make, make_broken, kill)

    @pytest.fixture(scope="module")
    def expectations():
        return Expectations(max_model_len=2048, running_metric="my_engine_running")

That is all it takes: `pip install engineroom[testing]` brings pytest and AnyIO, and there is nothing to configure. The
tests carry AnyIO's mark, and the fixture `anyio_backend` says that the loop is asyncio's, for one module and whatever
its fixtures' scope. One engine, started once, serves all of `test_conformance`.

A module that starts its engine otherwise defines a fixture `target` of its own, of any scope, sync or async. What an
engine does not declare among its capabilities is skipped, with what that is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from .check import CHECKS, Check
from .lifecycle import LIFECYCLE_CHECKS, Lifecycle
from .running import running
from .target import Expectations, NotOffered, Target, engine_target

__all__ = ["anyio_backend", "expectations", "target", "test_conformance", "test_lifecycle"]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """asyncio, which workers run on. AnyIO's own fixture would run each test on trio, too, and only for a module."""
    return "asyncio"


@pytest.fixture(scope="module")
def expectations() -> Expectations:
    """What only a person knows of the engine; nothing, unless a module says more."""
    return Expectations()


@pytest.fixture(scope="module")
async def target(anyio_backend: str, lifecycle: Lifecycle, expectations: Expectations) -> AsyncIterator[Target]:
    """A started engine of the kind that `lifecycle` makes, for all checks of a module."""
    async with running(lifecycle.make()) as engine:
        yield engine_target(engine, expectations)


@pytest.mark.anyio
@pytest.mark.parametrize("check", CHECKS, ids=str)
async def test_conformance(check: Check, target: Target) -> None:
    """What a running engine owes its clients."""
    try:
        await check(target)
    except NotOffered as reason:
        pytest.skip(f"not offered: {reason}")


@pytest.mark.anyio
@pytest.mark.parametrize("check", LIFECYCLE_CHECKS, ids=lambda check: check.__name__)
async def test_lifecycle(check: Callable[[Lifecycle], Awaitable[None]], lifecycle: Lifecycle) -> None:
    """What an engine owes whoever starts and stops it."""
    try:
        await check(lifecycle)
    except NotOffered as reason:
        pytest.skip(f"not offered: {reason}")
