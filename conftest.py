"""What all tests share."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# No clock decides whether a property holds, and a run that fails fails again: others' work on the machine must not be
# able to make a test fail, nor luck. To look for more: `pytest --hypothesis-profile=default`.
settings.register_profile(
    "engineroom", deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
settings.load_profile("engineroom")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """asyncio only: it is what the worker runs on."""
    return "asyncio"


def pytest_xdist_auto_num_workers() -> int:
    """One process more than this process has cores: many tests wait for a process of their own."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 16) + 1
