"""The conformance kit: what an engine package runs against itself, and `engineroom check` against a server.

`engineroom.testing.suite` has it as tests: an engine gives a fixture `target`, which is `engine_target(engine,
Expectations(...))` around a running engine, and one `lifecycle`, a `Lifecycle` that makes engines. A check raises
AssertionError with what the engine owes, or NotOffered.
"""

from .check import CHECKS, Check, NotOffered
from .lifecycle import LIFECYCLE_CHECKS, Lifecycle
from .running import running
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
    "running",
    "url_target",
]
