"""The conformance kit as pytest's tests (and AnyIO's, with `anyio_mode = "auto"`): import them, and give two fixtures.

    from engineroom.testing.suite import test_conformance, test_lifecycle

    __all__ = ["test_conformance", "test_lifecycle"]

    @pytest.fixture
    async def target():
        async with running(MyEngine.configure(...)) as engine:
            yield engine_target(engine, Expectations(...))

    @pytest.fixture
    def lifecycle():
        return Lifecycle(make, make_broken, kill)

What the engine does not offer is skipped, with what that is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from . import CHECKS, LIFECYCLE_CHECKS, Check, Lifecycle, NotOffered, Target

__all__ = ["test_conformance", "test_lifecycle"]


@pytest.mark.parametrize("check", CHECKS, ids=str)
async def test_conformance(check: Check, target: Target) -> None:
    """What a running engine owes its clients."""
    try:
        await check(target)
    except NotOffered as reason:
        pytest.skip(f"not offered: {reason}")


@pytest.mark.parametrize("check", LIFECYCLE_CHECKS, ids=lambda check: check.__name__)
async def test_lifecycle(check: Callable[[Lifecycle], Awaitable[None]], lifecycle: Lifecycle) -> None:
    """What an engine owes whoever starts and stops it."""
    try:
        await check(lifecycle)
    except NotOffered as reason:
        pytest.skip(f"not offered: {reason}")
