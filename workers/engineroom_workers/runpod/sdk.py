"""RunPod's SDK: the only module that knows the SDK's private modules.

The SDK decides what a worker says to the platform, where and with which credentials: the URLs, the headers, how a
poll is put and read. We decide when (`jobs`, `worker`), because the SDK's own loop sleeps while jobs wait, loses jobs
on SIGTERM, loses streams that cannot be posted, and leaves its ping process behind.

workers/tests/runpod/test_sdk_contract.py fails when any of this moves.
"""

from __future__ import annotations

import inspect
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from engineroom.errors import EngineroomError

_LEVELS = {"DEBUG": "INFO", "INFO": "INFO", "WARNING": "WARN", "ERROR": "ERROR"}
"""Our log levels as the SDK's; its DEBUG prints every chunk of every stream."""


class SDKMovedError(EngineroomError):
    """The installed SDK is not as this module knows it."""


@dataclass(frozen=True, slots=True)
class SDK:
    """What is used of the SDK.

    version: sent with every ping.
    worker_id: this worker's name at the platform.
    get_job: `(session, how_many) -> jobs`; one long poll.
    get_stop_signals: `(session) -> ids of jobs to stop`; one long poll.
    too_many_requests: what both raise for a 429.
    jobs_in_progress: a set of ids, from which `get_job` tells the platform whether the worker is busy.
    stream_url, done_url: templates in which `$ID` stands for a job.
    ping_url, ping_interval: where and every how many seconds to ping.
    headers: those of every request but the ping.
    """

    version: str
    worker_id: str
    get_job: Callable[[Any, int], Awaitable[list[dict[str, Any]] | None]]
    get_stop_signals: Callable[[Any], Awaitable[list[str]]]
    too_many_requests: type[Exception]
    jobs_in_progress: Any
    stream_url: str
    done_url: str
    ping_url: str
    ping_interval: float
    headers: Mapping[str, str]


def prepare_environment(log_level: str) -> None:
    """Turn off what the SDK does unasked; call it before anything imports the SDK. The user's own values stand.

    The fitness checks want the internet, a tenth of the disk free, and a CUDA context on every GPU.
    """
    os.environ.setdefault("RUNPOD_SKIP_AUTO_SYSTEM_CHECKS", "true")
    os.environ.setdefault("RUNPOD_SKIP_GPU_CHECK", "true")
    if "RUNPOD_DEBUG_LEVEL" not in os.environ:
        os.environ.setdefault("RUNPOD_LOG_LEVEL", _LEVELS[log_level])


def read_responses_as(response_class: type[Any]) -> None:
    """Let the SDK's own loop read what it is answered with this class of aiohttp's, where its loop is as we know it."""
    with suppress(ImportError, AttributeError):
        from runpod.serverless.modules import rp_scale

        rp_scale.AsyncClientSession = partial(rp_scale.AsyncClientSession, response_class=response_class)


def has_jobs() -> bool:
    """Whether the SDK's own loop has jobs whose result it has not sent, as far as it can be asked."""
    with suppress(ImportError, AttributeError):
        from runpod.serverless.modules import rp_job

        return bool(rp_job.job_progress.get_job_list())
    return False


def load() -> SDK:
    """Import the SDK, which takes a while: call it in a thread.

    Raises:
        SDKMovedError: it is not installed, or not as this module knows it.
    """
    fresh = "runpod" not in sys.modules
    stubs = _stubs() if fresh else {}
    sys.modules.update(stubs)
    try:
        return _load()
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise SDKMovedError(f"the installed runpod SDK cannot be driven from outside: {error}") from error
    finally:
        # Whoever imports the SDK after this gets all of it. The names are copied, as other threads import meanwhile.
        for name in list(sys.modules):
            if fresh and name.partition(".")[0] == "runpod":
                del sys.modules[name]
        for name, stub in stubs.items():
            if sys.modules.get(name) is stub:
                del sys.modules[name]


def whole() -> Any:
    """The package `runpod` with all that is in it, for its own loop; without what its import has `cpuinfo` find out.

    For a debugger that is the processor's name, and takes a second.
    """
    stand_in = None if "cpuinfo" in sys.modules else _cpuinfo()
    if stand_in is not None:
        sys.modules["cpuinfo"] = stand_in
    try:
        return import_module("runpod")
    finally:
        if stand_in is not None:
            del sys.modules["cpuinfo"]


_PACKAGES = ("runpod", "runpod.cli", "runpod.cli.groups", "runpod.serverless", "runpod.serverless.utils")
"""Packages that import all that is in them, though we need a module each."""


def _stubs() -> dict[str, ModuleType]:
    """Stand-ins for what the SDK imports and its jobs do not need; it is most of what its import costs.

    The stand-in of a package only says where its modules are. `paramiko` makes the SSH keys of the SDK's command line,
    and `requests` is its client for blocking calls.
    """
    made = {"cpuinfo": _cpuinfo(), "paramiko": ModuleType("paramiko")}
    stubs = {name: stub for name, stub in made.items() if name not in sys.modules}
    if "requests" not in sys.modules:
        stubs["requests"] = _Requests("requests")
    spec = find_spec("runpod")
    if spec is not None and spec.submodule_search_locations:
        for name in _PACKAGES:
            package = ModuleType(name)
            inner = name.split(".")[1:]
            package.__path__ = [os.path.join(place, *inner) for place in spec.submodule_search_locations]
            stubs[name] = package
    return stubs


def _cpuinfo() -> ModuleType:
    """A stand-in for `cpuinfo`, which knows no processor."""
    stub = ModuleType("cpuinfo")
    stub.get_cpu_info = lambda: {"brand_raw": ""}  # type: ignore[attr-defined]
    return stub


class _Requests(ModuleType):
    """`requests` for the thread that made it, where it has a class to derive from and nothing else. An engine in this
    process may import the same library at the same time: other threads find the real one."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._owner = threading.get_ident()

    def __getattr__(self, name: str) -> Any:
        if threading.get_ident() == self._owner:
            if name == "Session":
                return object
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


def _load() -> SDK:
    from runpod.http_client import TooManyRequests, get_auth_header
    from runpod.serverless.modules import rp_http, rp_job, worker_state
    from runpod.version import __version__

    inspect.signature(rp_job.get_job).bind("session", 1)
    inspect.signature(rp_job.get_stop_signals).bind("session")
    jobs_in_progress = rp_job.job_progress
    for method in ("add", "remove", "get_job_list"):
        getattr(jobs_in_progress, method)
    return SDK(
        version=__version__,
        worker_id=worker_state.WORKER_ID,
        get_job=rp_job.get_job,
        get_stop_signals=rp_job.get_stop_signals,
        too_many_requests=TooManyRequests,
        jobs_in_progress=jobs_in_progress,
        stream_url=rp_http.JOB_STREAM_URL,
        done_url=rp_http.JOB_DONE_URL,
        # As the SDK's `Heartbeat` reads them, which has a process and a client of its own.
        ping_url=os.environ.get("RUNPOD_WEBHOOK_PING", ""),
        ping_interval=float(int(os.environ.get("RUNPOD_PING_INTERVAL", "10000")) // 1000),
        headers=get_auth_header(),
    )
