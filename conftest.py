"""What all tests share."""

from __future__ import annotations

import functools
import gc
import os
import re
import sys
from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest
from httpx._transports import default as httpx_transports
from hypothesis import HealthCheck, settings

from engineroom import plugins
from engineroom.settings import WorkerSettings

_TERMINAL = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "COLUMNS", "LINES")


def _leave_the_shell_s_own_out() -> None:
    """Take what the shell that runs the tests wants for itself out of the environment that they give to processes.

    A worker's settings are the tests' to make, and so is the terminal. A proxy stays for what lies beyond this machine,
    and is not asked for what is on it.
    """
    groups = (WorkerSettings, *plugins.door_settings())
    own = {name for group in groups for setting in group.describe() for name in setting.names}
    # In a pod a worker would serve on for a quarter of a minute after each test.
    for name in {*own, *_TERMINAL, "KUBERNETES_SERVICE_HOST"}:
        os.environ.pop(name, None)
    # Hundreds of processes are started, and each would compile whatever it imports.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1,localhost,::1"]))


_leave_the_shell_s_own_out()


def _load_certificates_once() -> None:
    """Let httpx's clients share the certificates that they trust. Each client would load them anew, and so would each
    `httpx.get`: 22 ms of CPU for a request that takes a quarter of one. There are thousands in a run, all to this
    machine.
    """
    load = httpx_transports.create_ssl_context
    usual = functools.cache(load)

    def create_ssl_context(verify: Any = True, cert: Any = None, trust_env: bool = True) -> Any:
        if verify is True and cert is None:
            return usual(trust_env=trust_env)
        return load(verify=verify, cert=cert, trust_env=trust_env)

    setattr(httpx_transports, "create_ssl_context", create_ssl_context)  # noqa: B010 - it is not exported


_load_certificates_once()

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


_REAL_ENGINE = re.compile(r"engines/\w+/tests/test_real_")
"""Files that share one start of a real engine, which takes longest of all."""

_LONGEST = (
    "tests/images/test_build.py",
    "tests/images/test_build_llamacpp.py",
    "engines/upstream/tests/test_conformance.py",
    "engines/llamacpp/tests/test_conformance.py",
    "tests/test_field_matrix.py",
    "common/tests/commands/test_pull.py",
    "tests/openai_spec/test_door.py",
    "tests/test_several_models_conformance.py",
    "tests/test_packages.py",
    "tests/test_suite.py",
    "tests/test_engine_tutorial.py",
    "engines/fastdeploy/tests/test_settings.py",
    "operations/tests/fit/test_command.py",
    "engines/fastdeploy/tests/test_recorded_behaviour_over_standin.py",
    "tests/test_architecture.py",
    "tests/openai_spec/test_fuzz.py",
    "common/tests/server/test_engine.py",
    "engines/fastdeploy/tests/test_conformance_over_standin.py",
    "engines/fastdeploy/tests/test_start_and_stop_over_standin.py",
    "tests/test_hung_engine.py",
    "tests/test_config_foretells.py",
    "engines/fastdeploy/tests/test_doors_over_standin.py",
    "tests/test_names_from_elsewhere.py",
    "tests/test_names.py",
    "workers/tests/http/test_fuzz.py",
    "engines/max/tests/test_over_standin.py",
    "tests/test_shell_blocks.py",
    "operations/tests/bench/test_command.py",
    "tests/test_killed_engine.py",
    "tests/test_mistakes.py",
)
"""Files that take longer than others, the longest first: so they begin, and no core waits for one at the end."""


def _rank(path: str) -> int:
    """How early a file begins."""
    if _REAL_ENGINE.match(path):
        return -1
    return _LONGEST.index(path) if path in _LONGEST else len(_LONGEST)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile` a file's tests run in one process, so that what they share is made once. The files of one
    real engine do, too, and the longest begin first.
    """
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class FileScheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            real_engine = _REAL_ENGINE.match(nodeid)
            return real_engine[0] if real_engine else super()._split_scope(nodeid)

    config.option.loadscopereorder = False
    return FileScheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported for the tests stays: nobody looks for garbage in it, then or afterwards."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the tests of files that begin first to the front, where files are handed out in that order."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _rank(item.nodeid.partition("::")[0]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Three processes more than this process has cores: many tests wait for a process of their own, or for a while."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 16) + 3


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many tests were skipped, and why: a reason a line, however many files they are in."""
    skipped = terminalreporter.getreports("skipped")
    reasons = Counter(str(report.longrepr[2]) for report in skipped if isinstance(report.longrepr, tuple))
    if reasons:
        terminalreporter.section("skipped, by reason")
    for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0])):
        terminalreporter.write_line(f"{count:5}  {' '.join(reason.removeprefix('Skipped: ').split())[:150]}")
