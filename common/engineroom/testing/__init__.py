"""The conformance kit: what an engine package runs against itself, and `engineroom check` against a server.

`engineroom.testing.suite` has it as pytest's tests; only that module imports pytest. A check raises AssertionError,
with what was promised and what came, or NotOffered where the engine's capabilities leave out what it is about.
"""

from .check import CHECKS, Check, NotOffered
from .lifecycle import LIFECYCLE_CHECKS, Lifecycle
from .running import running, stopped
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
    "stopped",
    "url_target",
]
