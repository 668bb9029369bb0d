"""Doors for tests: each as a process of its own, as a user starts it, over whatever engine is installed.

`engineroom_workers.testing.suite` has what every engine owes at both doors as pytest's tests; only that module imports
pytest. `pip install engineroom-workers[testing]` brings what it needs.
"""

from __future__ import annotations

from ..emulator.testing import RunningEmulator, running_emulator
from .door import COMMAND, Door, DoorProcess, free_port, new_process, serving
from .expectations import DoorExpectations
from .reading import reading

__all__ = [
    "COMMAND",
    "Door",
    "DoorExpectations",
    "DoorProcess",
    "RunningEmulator",
    "free_port",
    "new_process",
    "reading",
    "running_emulator",
    "serving",
]
