"""An emulator inside a test: real sockets in the test's own event loop, and its state within reach.

::

    async def test_my_worker():
        async with running_emulator(hold=2) as platform:
            worker = subprocess.Popen([...], env={**os.environ, **platform.worker_environment()})
            async with httpx.AsyncClient(base_url=platform.endpoint_url) as client:
                job = (await client.post("/run", json={"input": {"prompt": "hi"}})).json()
            await platform.finished(job["id"])
            assert platform.emulator.jobs[job["id"]].posts["stream"] == 3

Clients must not block the loop: run `runpod.Endpoint` and other synchronous clients in a thread
(`await asyncio.to_thread(...)`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .faults import Faults
from .jobs import Job
from .management.catalog import Catalog
from .management.programs import Programs
from .options import EndpointOptions
from .platform import Emulator
from .platform_server import RunningPlatform, serving_platform
from .server import listen, serving
from .worker_environment import OFF_PLATFORM, worker_environment


@dataclass(frozen=True, slots=True)
class RunningEmulator:
    """A served emulator.

    emulator: the platform itself: `.jobs`, `.queue`, `.workers.by_id`, `.stats()`, `.redeliver(job, reason)`.
    url: `http://127.0.0.1:<port>`.
    """

    emulator: Emulator
    url: str

    @property
    def faults(self) -> Faults:
        """Change them at any time: `platform.faults.rtt_ms = 50`."""
        return self.emulator.faults

    @property
    def endpoint_id(self) -> str:
        return self.emulator.options.endpoint_id

    @property
    def base_url(self) -> str:
        """What RUNPOD_ENDPOINT_BASE_URL (`runpod.endpoint_url_base`) takes: `<url>/v2`."""
        return f"{self.url}/v2"

    @property
    def endpoint_url(self) -> str:
        """`<url>/v2/<id>`."""
        return f"{self.base_url}/{self.endpoint_id}"

    @property
    def openai_url(self) -> str:
        """The `base_url` of an OpenAI client."""
        return f"{self.endpoint_url}/openai/v1"

    def worker_environment(self, worker_id: str | None = None) -> dict[str, str]:
        """The variables to add to a worker's environment; without an id every call is for another worker."""
        return {**OFF_PLATFORM, **worker_environment(self.url, self.emulator.options, worker_id)}

    async def finished(self, job_id: str, timeout: float = 60.0) -> Job:
        """The job, once it has ended.

        Raises:
            TimeoutError: it has not, after `timeout` seconds; the message shows its state.
        """
        job = self.emulator.jobs[job_id]
        await self.until(lambda: job.finished, timeout, job.timeline)
        return job

    async def streamed(self, job_id: str, chunks: int = 1, timeout: float = 60.0) -> Job:
        """The job, once it has this many chunks.

        Raises:
            TimeoutError: as for `finished`.
        """
        job = self.emulator.jobs[job_id]
        await self.until(lambda: len(job.chunks) >= chunks, timeout, job.timeline)
        return job

    async def polled(self, workers: int = 1, timeout: float = 60.0) -> None:
        """Wait until this many workers have asked for a job.

        Raises:
            TimeoutError: as for `finished`.
        """
        known = self.emulator.workers.by_id
        await self.until(lambda: sum(worker.polls > 0 for worker in known.values()) >= workers, timeout)

    async def until(
        self, condition: Callable[[], object], timeout: float = 60.0, state: Callable[[], object] | None = None
    ) -> None:
        """Wait until `condition` returns something true.

        Args:
            state: returns what the error shows; by default the state of the whole platform.

        Raises:
            TimeoutError: it has not after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                describe = state or self.emulator.stats
                raise TimeoutError(f"not within {timeout} s: {describe()}")
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def running_emulator(
    options: EndpointOptions | None = None, faults: Faults | None = None, *, port: int = 0, **changes: Any
) -> AsyncIterator[RunningEmulator]:
    """Serve an emulator on loopback, in the running loop, until the block is left.

    Args:
        options: the endpoint's; by default `EndpointOptions(**changes)`, with polls held for 2 seconds instead of 10,
            so that a worker of the SDK ends soon after SIGTERM.
        faults: those that are injected from the start.
        port: 0 takes a free one.
        changes: fields of `EndpointOptions`, e.g. `execution_timeout=1.5`.
    """
    emulator = Emulator(options or EndpointOptions(**{"hold": 2.0, **changes}), faults)
    async with serving(emulator, listen("127.0.0.1", port)) as url:
        yield RunningEmulator(emulator, url)


@contextlib.asynccontextmanager
async def running_platform(
    images: Sequence[tuple[str, str]] = (),
    *,
    faults: Faults | None = None,
    catalog: Catalog | None = None,
    grace: float = 5.0,
    **changes: Any,
) -> AsyncIterator[RunningPlatform]:
    """Serve the whole platform with its management API on loopback, until the block is left.

    ::

        async with running_platform() as platform:
            environ = {"RUNPOD_API_URL": platform.url, "RUNPOD_API_KEY": "any"}
            ...
            assert list(platform.account.endpoints.values())[0].config["name"] == "mine"

    Args:
        images: patterns of images that are not this project's, and the command that stands for each.
        faults: those that are injected from the start; `platform.account.faults` changes them.
        catalog: what can be rented; by default the recorded catalogue.
        grace: seconds that a container has between SIGTERM and SIGKILL.
        changes: fields of `EndpointOptions`, for all endpoints.
    """
    emulator = Emulator(EndpointOptions(**{"hold": 2.0, **changes}), faults)
    listener = listen("127.0.0.1", 0)
    async with serving_platform(emulator, listener, Programs(images), grace, lambda line: None, catalog) as platform:
        yield platform
