"""Three workers as a Deployment has them: started, probed, replaced and killed as Kubernetes does it, as processes.

What is acted out: a kubelet's probes, its signal at the end and its SIGKILL after the grace period; a new pod before an
old one goes (`maxSurge: 1`, `maxUnavailable: 0`); a container that is started again where it died; and addresses that
reach each proxy late, at a moment of its own.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fronts import RolloutFront
from processes import ENGINEROOM, free_port, status_of

GRACE_S = 60
STARTUP_EVERY_S = 0.5
READY_EVERY_S = 1.0
READY_FAILURES = 2
LIVE_EVERY_S = 2.0
LIVE_FAILURES = 3
NOTICE_S = 1.0
"""How long a kubelet takes to see that a container has ended."""


class WorkerKill(NamedTuple):
    """A worker that was killed.

    address: as the proxies name it.
    began, ended: when it was told to die, and when it was dead, by `time.monotonic`. In between it may have taken a
        request.
    """

    address: str
    began: float
    ended: float


class WorkerPod:
    """A pod with one worker, always at the same address.

    ready: as the kubelet reports it.
    leaving: whether it has been deleted.
    """

    def __init__(self, settings: Mapping[str, str], log: Path) -> None:
        self.port = free_port()
        self.ready = False
        self.leaving = False
        self._settings = settings
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start the container."""
        environ = {
            **os.environ,
            "ENGINE": "echo",
            "KUBERNETES_SERVICE_HOST": "10.96.0.1",
            "PORT": str(self.port),
            "PAGE": "false",
            **self._settings,
        }
        with self._log.open("ab") as file:
            self._process = await asyncio.create_subprocess_exec(
                ENGINEROOM, "serve", env=environ, stdout=file, stderr=file
            )

    async def ask(self, path: str, timeout_s: float) -> bool:
        """Whether a probe succeeds."""
        asking = asyncio.to_thread(status_of, f"http://{self.address}{path}")
        try:
            return await asyncio.wait_for(asking, timeout_s) == 200
        except asyncio.TimeoutError:
            return False

    def send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def ended(self) -> int:
        """Wait for its end; the exit code."""
        assert self._process is not None
        return await self._process.wait()


class RolloutCluster:
    """The pods, and who tells the proxies of them.

    Args:
        settings: of every worker.
        lag: seconds after which a change has reached each proxy at the latest.
        replicas: how many workers there are to be.

    kills: the workers that were killed on purpose.
    overdue: pods that had not ended within their grace period.
    problems: what else went wrong.
    exits: exit codes of those that were told to end.
    """

    def __init__(
        self, settings: Mapping[str, str], fronts: Sequence[RolloutFront], lag: float, folder: Path, replicas: int = 3
    ) -> None:
        self._settings = settings
        self._fronts = fronts
        self._lag = lag
        self._folder = folder
        self._replicas = replicas
        self._pods: list[WorkerPod] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._deletions: list[asyncio.Task[None]] = []
        self._changed = {front.name: asyncio.Event() for front in fronts}
        self._random = random.Random(20)
        self.kills: list[WorkerKill] = []
        self.overdue = 0
        self.problems: list[str] = []
        self.exits: list[int] = []

    async def start(self) -> None:
        """Start the pods and the proxies, and wait until all of them serve."""
        await asyncio.gather(*(self._add() for _ in range(self._replicas)))
        for front in self._fronts:
            await front.start(self._addresses())
            self._do(self._inform(front))

    async def roll(self) -> None:
        """Replace the oldest pod: a new one first; the old one ends by itself."""
        oldest = next(pod for pod in self._pods if not pod.leaving)
        await self._add()
        oldest.leaving = True
        self._deletions.append(self._do(self._delete(oldest)))

    async def kill(self) -> None:
        """Kill a worker that serves, and wait until the container that takes its place does."""
        pod = self._random.choice([pod for pod in self._pods if pod.ready])
        began = time.monotonic()
        pod.send(signal.SIGKILL)
        await pod.ended()
        self.kills.append(WorkerKill(pod.address, began, time.monotonic()))
        await asyncio.sleep(NOTICE_S)
        self._set_ready(pod, False)
        await pod.start()
        await self._until_ready(pod)
        await asyncio.sleep(self._lag)

    async def settled(self) -> None:
        """Wait until every pod that was deleted has ended."""
        await asyncio.gather(*self._deletions)

    async def stop(self) -> None:
        """End all of it."""
        for pod in self._pods:
            pod.send(signal.SIGKILL)
        await asyncio.gather(*(pod.ended() for pod in self._pods))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for front in self._fronts:
            front.stop()

    async def _add(self) -> None:
        pod = WorkerPod(self._settings, self._folder / f"worker-{len(list(self._folder.glob('worker-*')))}.log")
        pod._log.touch()
        await pod.start()
        self._pods.append(pod)
        self._do(self._probe_readiness(pod))
        self._do(self._probe_liveness(pod))
        await self._until_ready(pod)

    async def _until_ready(self, pod: WorkerPod) -> None:
        deadline = time.monotonic() + 60
        while not pod.ready:
            if time.monotonic() > deadline:
                raise SystemExit(f"a worker was not ready within a minute; see {pod._log}")
            await asyncio.sleep(0.05)

    async def _delete(self, pod: WorkerPod) -> None:
        self._set_ready(pod, False)
        pod.send(signal.SIGTERM)
        try:
            self.exits.append(await asyncio.wait_for(pod.ended(), GRACE_S))
        except asyncio.TimeoutError:
            self.overdue += 1
            pod.send(signal.SIGKILL)
            await pod.ended()
        self._pods.remove(pod)

    async def _probe_readiness(self, pod: WorkerPod) -> None:
        started = False
        failures = 0
        while pod in self._pods:
            started = started or await pod.ask("/startupz", 1)
            if not started:
                await asyncio.sleep(STARTUP_EVERY_S)
                continue
            if await pod.ask("/readyz", 1):
                failures = 0
                self._set_ready(pod, not pod.leaving)
            else:
                failures += 1
                if failures >= READY_FAILURES:
                    self._set_ready(pod, False)
            await asyncio.sleep(READY_EVERY_S if pod.ready else STARTUP_EVERY_S)

    async def _probe_liveness(self, pod: WorkerPod) -> None:
        failures = 0
        while not pod.leaving:
            await asyncio.sleep(LIVE_EVERY_S)
            failures = 0 if not pod.ready or await pod.ask("/livez", 5) else failures + 1
            if failures == LIVE_FAILURES:
                self.problems.append("the liveness probe would have killed a worker that is well")

    def _set_ready(self, pod: WorkerPod, ready: bool) -> None:
        if pod.ready != ready:
            pod.ready = ready
            for event in self._changed.values():
                event.set()

    def _addresses(self) -> list[int]:
        return [pod.port for pod in self._pods if pod.ready]

    async def _inform(self, front: RolloutFront) -> None:
        """Tell one proxy of every change, late."""
        event = self._changed[front.name]
        while True:
            await event.wait()
            event.clear()
            await asyncio.sleep(self._random.uniform(0.1, self._lag))
            front.route(self._addresses())

    def _do(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.problems.append(repr(task.exception()))
