"""The workers of one endpoint: it starts, ends and freezes them as the plan says, and knows the state of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..worker_environment import new_worker_id
from .catalog import Catalog, GpuType
from .fleet_plan import WorkerView, make_plan
from .hosts import ContainerProcess
from .identifiers import timestamp
from .launcher import Launcher
from .ledger import Ledger, Usage
from .logs import Log
from .scaling import FleetLimits, wanted_workers
from .states import WorkerFacts, WorkerStatus, worker_status
from .traffic import Traffic

FROZEN_S = 600.0
"""How long FlashBoot keeps a worker that has ended (a guess)."""
DEFAULT_IDLE_S = 5.0
"""How long a worker stays idle where the endpoint's JSON does not say (a guess)."""
MOST_FAILURES = 6
"""After so many workers in succession that ended by themselves none is started until the endpoint is changed."""
LONGEST_PAUSE_S = 60.0
UNHEALTHY_S = 60.0
"""After so long a worker that fails its checks is replaced (a guess)."""
KEPT_LOGS = 200
VOLUME_PATH = "/runpod-volume"
"""Where a worker has its endpoint's network volume (RunPod's documentation)."""


@dataclass
class FleetWorker:
    """One worker.

    version: the version of the endpoint that it runs.
    image, gpus: what it runs, and on how many GPUs.
    placed: what it runs on, once there was something; `gpu` is None on a CPU.
    failed: why it is of no use any more.
    pause_ends: when a failed worker is replaced (the fleet's clock).
    was_ready: whether requests have reached it.
    idle_since: since when it has had nothing to do (the fleet's clock).
    unhealthy_since: since when it has failed its checks (the fleet's clock).
    ending: whether we asked for its end.
    """

    id: str
    version: int
    image: str
    gpus: int
    log: Log = field(default_factory=Log)
    placed: bool = False
    gpu: GpuType | None = None
    data_center: str | None = None
    process: ContainerProcess | None = None
    usage: list[Usage] = field(default_factory=list)
    started_at: float | None = None
    stale: bool = False
    failed: str | None = None
    pause_ends: float = 0.0
    was_ready: bool = False
    idle_since: float | None = None
    unhealthy_since: float | None = None
    frozen_at: float = 0.0
    ending: bool = False

    @property
    def seconds(self) -> float:
        """For how long it has run."""
        return 0.0 if self.started_at is None else time.time() - self.started_at


class Fleet:
    """The workers of one endpoint. `reconcile` does what is due; call it often, and after every change.

    Args:
        report: called with a line of text at every start and end.
        clock: seconds, for pauses and limits of time.
    """

    def __init__(
        self,
        endpoint_id: str,
        traffic: Traffic,
        launcher: Launcher,
        catalog: Catalog,
        ledger: Ledger,
        report: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.workers: dict[str, FleetWorker] = {}
        self.log_of: dict[str, Log] = {}
        """The logs of all workers that there have been, the oldest first, as far as they are kept."""
        self._endpoint_id = endpoint_id
        self._traffic = traffic
        self._launcher = launcher
        self._catalog = catalog
        self._ledger = ledger
        self._report = report
        self._clock = clock
        self._config: Mapping[str, Any] = {}
        self._version = 0
        self._frozen: dict[str, FleetWorker] = {}
        self._failures = 0

    def configure(self, config: Mapping[str, Any], version: int, replace: bool) -> None:
        """Take the endpoint's settings.

        Args:
            replace: whether the workers that there are must be replaced for them.
        """
        self._config = config
        self._version = version
        self._failures = 0
        for worker in self.workers.values():
            if replace:
                worker.stale = True
            elif not worker.stale:
                worker.version = version
        if replace or config["flashboot"] == "OFF":
            self._drop_frozen()

    def status(self, worker: FleetWorker) -> WorkerStatus:
        """The state of a worker."""
        seen = self._traffic.look(worker.id)
        unhealthy = worker.failed is not None or seen.unhealthy
        return worker_status(WorkerFacts(worker.placed, unhealthy, seen.ready, seen.busy))

    def reconcile(self) -> None:
        """Start, end and replace workers, so that there are as many as the endpoint should have."""
        now = self._clock()
        self._note_progress(now)
        self._expire(now)
        limits = FleetLimits(self._config["workers"]["min"], self._config["workers"]["max"])
        views = [
            WorkerView(worker.id, self.status(worker), worker.stale, now - (worker.idle_since or now))
            for worker in self.workers.values()
        ]
        wanted = wanted_workers(self._config["scaling"], limits, self._traffic.load(), len(views))
        idle_timeout = self._config["workers"].get("idleTimeout", DEFAULT_IDLE_S)
        plan = make_plan(views, wanted, limits, idle_timeout)
        for worker_id in plan.end:
            self._retire(self.workers[worker_id])
        for worker_id in plan.drain:
            # Even if it is wanted again before it is done: it gets nothing more to do.
            self.workers[worker_id].stale = True
            self._traffic.dismiss(worker_id)
        for _ in range(plan.start):
            self._add()
        for worker in self.workers.values():
            if not worker.placed:
                self._place(worker)

    def close(self) -> None:
        """End all workers."""
        for worker in list(self.workers.values()):
            self._end(worker, "the endpoint is deleted")
        self._drop_frozen()

    def replace(self, worker_id: str) -> None:
        """Replace a worker once it has nothing to do, because its result asks for that."""
        if worker_id in self.workers:
            self.workers[worker_id].stale = True
            self._traffic.dismiss(worker_id)

    def as_json(self, worker: FleetWorker) -> dict[str, Any]:
        """A worker as the management API shows it."""
        started = worker.started_at
        return {
            "id": worker.id,
            "status": self.status(worker),
            "isStale": worker.version != self._version,
            "version": worker.version,
            "gpuCount": worker.gpus,
            "image": worker.image,
            "uptimeSeconds": None if started is None else int(worker.seconds),
            "gpuTypeId": None if worker.gpu is None else worker.gpu.id,
            "dataCenterId": worker.data_center,
            "startedAt": None if started is None else timestamp(started),
        }

    # Looking at what has happened

    def _note_progress(self, now: float) -> None:
        for worker in self.workers.values():
            status = self.status(worker)
            if status in ("IDLE", "RUNNING") and not worker.was_ready:
                worker.was_ready = True
                self._failures = 0
                worker.log.system(f"the worker is ready, {worker.seconds:.1f} s after its start")
                self._report(f"endpoint {self._endpoint_id}: worker {worker.id} is ready after {worker.seconds:.1f} s")
            if status != "UNHEALTHY":
                worker.unhealthy_since = None
            elif worker.unhealthy_since is None:
                worker.unhealthy_since = now
            if status != "IDLE":
                worker.idle_since = None
            elif worker.idle_since is None:
                worker.idle_since = now

    def _expire(self, now: float) -> None:
        """Remove failed workers whose pause is over, workers that nobody could reach, and old frozen ones."""
        patience = self._traffic.patience
        for worker in list(self.workers.values()):
            if worker.failed is not None:
                if self._failures < MOST_FAILURES and now >= worker.pause_ends:
                    self._end(worker, worker.failed)
            elif worker.unhealthy_since is not None and now - worker.unhealthy_since > UNHEALTHY_S:
                self._end(worker, f"it has been unhealthy for {UNHEALTHY_S:.0f} s")
            elif patience is not None and not worker.was_ready and worker.seconds > patience:
                self._end(worker, f"it could not be reached for {patience:.0f} s")
        for worker in list(self._frozen.values()):
            if now - worker.frozen_at > FROZEN_S:
                del self._frozen[worker.id]
                self._stop(worker, "FlashBoot keeps it no longer")

    # Starting and ending

    def _add(self) -> None:
        """One more worker: the one that was frozen last, or a new one."""
        if self._frozen:
            _, worker = self._frozen.popitem()
            worker.version = self._version
            worker.idle_since = None
            self.workers[worker.id] = worker
            worker.log.system("FlashBoot wakes the worker")
            self._report(f"endpoint {self._endpoint_id}: FlashBoot wakes worker {worker.id}")
            self._begin_usage(worker)
            self._traffic.recall(worker.id)
            if worker.process is not None:
                worker.process.thaw()
            return
        gpus = self._config["gpu"]["count"] if "gpu" in self._config else 0
        worker = FleetWorker(new_worker_id(), self._version, self._config["image"], gpus)
        self.workers[worker.id] = worker
        self.log_of[worker.id] = worker.log
        while len(self.log_of) > KEPT_LOGS:
            del self.log_of[next(iter(self.log_of))]
        self._place(worker)

    def _place(self, worker: FleetWorker) -> None:
        """Find something for the worker to run on, and start it there."""
        if "gpu" in self._config:
            gpu = self._config["gpu"]
            types = self._catalog.in_pools(gpu["pools"], gpu.get("excludedTypes", ()))
            worker.gpu = next((candidate for candidate in types if self._catalog.available(candidate.id)), None)
            worker.placed = worker.gpu is not None
        else:
            worker.placed = any(self._catalog.available(cpu["id"]) for cpu in self._config["cpu"])
        worker.placed = worker.placed and self._launcher.has_room()
        if worker.placed:
            worker.data_center = next(iter(self._config["dataCenterIds"] or self._catalog.data_centers), None)
            self._start(worker)
        elif not worker.log.written:
            worker.log.system("no machine has capacity; the worker waits")

    def _start(self, worker: FleetWorker) -> None:
        # One volume is mounted, however many an endpoint names for its data centres.
        volumes = self._config["networkVolumes"]
        mounts = {VOLUME_PATH: volumes[0]} if volumes else {}
        prepared = self._launcher.prepare(self._config, mounts)
        if prepared is None:
            self._fail(worker, f"the emulator has no program that stands for the image {worker.image}")
            return
        problem = self._traffic.enter(worker.id, self._config["env"], self._config["ports"], prepared.ports)
        if problem is not None:
            worker.log.system(problem)
        worker.started_at = time.time()
        self._report(f"endpoint {self._endpoint_id}: worker {worker.id} is starting")
        self._begin_usage(worker)
        platform = self._traffic.environ(worker.id)
        worker.process = self._launcher.start(prepared, platform, worker.log, lambda code: self._ended(worker, code))

    def _ended(self, worker: FleetWorker, code: int) -> None:
        """A worker's process ended, because we asked for that or by itself."""
        worker.process = None
        if worker.ending:
            self._traffic.forget(worker.id, "it was ended")
            worker.log.close()
        elif self._frozen.pop(worker.id, None) is not None:
            self._stop(worker, "its process ended")
        elif code == 0:
            self._end(worker, "its process ended")
        else:
            lines = worker.log.last(1, "container")
            last = f"; its last line: {lines[0].line}" if lines else ""
            self._fail(worker, f"its process ended with code {code}{last}")

    def _fail(self, worker: FleetWorker, reason: str) -> None:
        """A worker is of no use any more; it is shown for a while, and then replaced."""
        self._failures += 1
        worker.failed = reason
        worker.pause_ends = self._clock() + min(2.0 ** (self._failures - 1), LONGEST_PAUSE_S)
        worker.log.system(reason)
        if self._failures >= MOST_FAILURES:
            worker.log.system(f"{self._failures} workers failed in succession; change the endpoint to try again")
        self._report(f"endpoint {self._endpoint_id}: worker {worker.id} is unhealthy: {reason}")
        self._end_usage(worker)
        self._traffic.forget(worker.id, reason)

    def _retire(self, worker: FleetWorker) -> None:
        """A worker is not needed any more: freeze it where FlashBoot is on, else end it."""
        flashboot = self._config["flashboot"] != "OFF"
        if flashboot and worker.process is not None and worker.was_ready and not worker.stale:
            self._traffic.dismiss(worker.id)
            del self.workers[worker.id]
            self._end_usage(worker)
            worker.frozen_at = self._clock()
            self._frozen[worker.id] = worker
            worker.log.system("FlashBoot keeps the worker")
            self._report(f"endpoint {self._endpoint_id}: FlashBoot keeps worker {worker.id}")
            worker.process.freeze()
        else:
            self._end(worker, "it is replaced" if worker.stale else "it is not needed any more")

    def _end(self, worker: FleetWorker, reason: str) -> None:
        del self.workers[worker.id]
        self._stop(worker, reason)

    def _stop(self, worker: FleetWorker, reason: str) -> None:
        worker.log.system(f"the worker ends: {reason}")
        self._report(f"endpoint {self._endpoint_id}: worker {worker.id} ends: {reason}")
        self._traffic.dismiss(worker.id)
        self._end_usage(worker)
        worker.ending = True
        if worker.process is not None:
            worker.process.end()
        else:
            self._traffic.forget(worker.id, reason)
            worker.log.close()

    def _drop_frozen(self) -> None:
        for worker in list(self._frozen.values()):
            self._stop(worker, "FlashBoot keeps it no longer")
        self._frozen.clear()

    # Money

    def _begin_usage(self, worker: FleetWorker) -> None:
        now = time.time()
        if worker.gpu is not None:
            rate = (worker.gpu.serverless or 0.0) * worker.gpus
            worker.usage.append(self._ledger.begin("serverless", self._endpoint_id, "gpu", rate, now))
        elif "cpu" in self._config:
            chosen = self._config["cpu"][0]
            rate = self._catalog.cpus[chosen["id"]].serverless * chosen["vcpuCount"]
            worker.usage.append(self._ledger.begin("serverless", self._endpoint_id, "cpu", rate, now))

    def _end_usage(self, worker: FleetWorker) -> None:
        for usage in worker.usage:
            usage.end = usage.end or time.time()
