"""A program run to its end, and what it used of the machine."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Used(NamedTuple):
    """What a program and those that it started used."""

    seconds: float
    cpu_s: float


def timed(command: Sequence[str], env: Mapping[str, str] | None = None) -> Used:
    """Run a program.

    Raises:
        SystemExit: it failed; its last lines are in the text.
    """
    before = os.times()
    began = time.perf_counter()
    done = subprocess.run(command, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=600)
    after = os.times()
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    return Used(time.perf_counter() - began, cpu_s)
