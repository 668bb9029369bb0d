"""The conformance kit: what an engine package runs against itself, and `engineroom check` against a server.

In an engine's tests::

    @pytest.mark.parametrize("check", CHECKS, ids=str)
    async def test_conformance(check, target):
        await run_check(check, target)

where `target` is a fixture that yields `engine_target(engine, Expectations(...))` around a started engine, and

    @pytest.mark.parametrize("check", LIFECYCLE_CHECKS, ids=str)
    async def test_lifecycle(check):
        await check(lifecycle)

with a `Lifecycle` that makes engines. A check raises AssertionError with what the engine owes, or NotOffered.
"""

from .check import CHECKS, Check, NotOffered
from .lifecycle import LIFECYCLE_CHECKS, Lifecycle
from .target import Expectations, Target, engine_target, url_target

__all__ = [
    "CHECKS",
    "LIFECYCLE_CHECKS",
    "Check",
    "Expectations",
    "Lifecycle",
    "NotOffered",
    "Target",
    "engine_target",
    "url_target",
]
