"""A fleet of workers without processes: what it does when they work, fail, or are replaced, on the test's own clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from engineroom_workers.emulator.management.fleet import MOST_FAILURES, UNHEALTHY_S, Fleet
from engineroom_workers.emulator.management.hosts import ContainerProcess
from engineroom_workers.emulator.management.launcher import Launcher
from engineroom_workers.emulator.management.ledger import Ledger
from engineroom_workers.emulator.management.logs import Log
from engineroom_workers.emulator.management.ports import PortMap
from engineroom_workers.emulator.management.programs import Programs
from engineroom_workers.emulator.management.recorded_catalog import recorded_catalog
from engineroom_workers.emulator.management.scaling import EndpointLoad
from engineroom_workers.emulator.management.traffic import Reachability
from engineroom_workers.emulator.management.volume_folders import VolumeFolders

CONFIG: dict[str, Any] = {
    "image": "any",
    "args": "",
    "env": {},
    "ports": [],
    "gpu": {"pools": ["ADA_24"], "count": 1},
    "workers": {"min": 1, "max": 3, "idleTimeout": 10},
    "scaling": {"type": "REQUEST_COUNT", "requestCount": 1},
    "dataCenterIds": [],
    "networkVolumes": [],
    "flashboot": "OFF",
}


class StandinProcess:
    """A process that is none: it does what it is told at once."""

    def __init__(self, on_end: Callable[[int], None]) -> None:
        self.on_end = on_end
        self.frozen = False
        self.ended = False

    def end(self) -> None:
        self.ended = True
        self.on_end(0)

    def freeze(self) -> None:
        self.frozen = True

    def thaw(self) -> None:
        self.frozen = False


class StandinHost:
    """A machine of which the test says whether it has room."""

    def __init__(self) -> None:
        self.room = True
        self.processes: list[StandinProcess] = []

    def has_room(self) -> bool:
        return self.room

    def start(
        self, command: Sequence[str], environ: Mapping[str, str], log: Log, on_end: Callable[[int], None]
    ) -> ContainerProcess:
        self.processes.append(StandinProcess(on_end))
        return self.processes[-1]


class StandinTraffic:
    """Requests that the test makes up: how many there are, and what each worker is like."""

    patience: float | None = None

    def __init__(self) -> None:
        self.requests = EndpointLoad(0, 0, 0.0)
        self.seen: dict[str, Reachability] = {}
        self.dismissed: set[str] = set()

    def load(self) -> EndpointLoad:
        return self.requests

    def environ(self, worker_id: str) -> Mapping[str, str]:
        return {}

    def enter(self, worker_id: str, env: Mapping[str, str], exposed: list[str], ports: PortMap) -> str | None:
        self.seen[worker_id] = Reachability()
        return None

    def look(self, worker_id: str) -> Reachability:
        return self.seen.get(worker_id, Reachability(unhealthy=True))

    def dismiss(self, worker_id: str) -> None:
        self.dismissed.add(worker_id)

    def recall(self, worker_id: str) -> None:
        self.dismissed.discard(worker_id)

    def forget(self, worker_id: str, reason: str) -> None:
        self.seen.pop(worker_id, None)


class Stage:
    """A fleet with its surroundings."""

    def __init__(self, **changes: Any) -> None:
        self.now = 1000.0
        self.host = StandinHost()
        self.traffic = StandinTraffic()
        self.config = {**CONFIG, **changes}
        launcher = Launcher(self.host, Programs([("any", "true")]), VolumeFolders())
        self.ledger = Ledger()
        self.fleet = Fleet(
            "e", self.traffic, launcher, recorded_catalog(), self.ledger, lambda line: None, lambda: self.now
        )
        self.fleet.configure(self.config, 1, replace=False)
        self.fleet.reconcile()

    @property
    def states(self) -> list[str]:
        return [self.fleet.status(worker) for worker in self.fleet.workers.values()]

    def wait(self, seconds: float) -> None:
        """Let time pass, and the fleet look at every second of it."""
        for _ in range(int(seconds)):
            self.now += 1
            self.fleet.reconcile()

    def all_ready(self, busy: bool = False) -> None:
        for worker_id in self.fleet.workers:
            self.traffic.seen[worker_id] = Reachability(ready=True, busy=busy)
        self.fleet.reconcile()


def test_workers_come_with_the_requests_and_go_when_they_are_idle() -> None:
    stage = Stage()
    assert stage.states == ["INITIALIZING"]
    stage.traffic.requests = EndpointLoad(5, 0, 0.0)
    stage.fleet.reconcile()
    assert stage.states == ["INITIALIZING"] * 3
    stage.all_ready(busy=True)
    stage.traffic.requests = EndpointLoad(0, 0, 0.0)
    assert stage.states == ["RUNNING"] * 3
    stage.wait(30)
    assert stage.states == ["RUNNING"] * 3, "who works does not end"
    stage.all_ready()
    stage.wait(9)
    assert stage.states == ["IDLE"] * 3
    stage.wait(2)
    assert stage.states == ["IDLE"], "the one that there must be stays"
    assert sum(usage.end is None for usage in stage.ledger.usages) == 1


def test_a_release_ends_idle_workers_at_once_and_busy_ones_when_they_are_done() -> None:
    stage = Stage(workers={"min": 2, "max": 2, "idleTimeout": 10})
    stage.all_ready()
    busy, idle = stage.fleet.workers
    stage.traffic.seen[busy] = Reachability(ready=True, busy=True)
    stage.fleet.configure({**stage.config, "env": {"A": "1"}}, 2, replace=True)
    stage.fleet.reconcile()
    assert idle not in stage.fleet.workers
    assert busy in stage.traffic.dismissed
    assert stage.fleet.as_json(stage.fleet.workers[busy])["isStale"]
    assert stage.states == ["RUNNING", "INITIALIZING", "INITIALIZING"]
    stage.traffic.seen[busy] = Reachability(ready=True)
    stage.fleet.reconcile()
    assert busy not in stage.fleet.workers
    assert [worker.version for worker in stage.fleet.workers.values()] == [2, 2]


def test_a_worker_that_was_told_to_finish_is_not_counted_on_again() -> None:
    stage = Stage(workers={"min": 2, "max": 2, "idleTimeout": 10})
    stage.all_ready(busy=True)
    stage.fleet.configure({**stage.config, "workers": {"min": 1, "max": 1}}, 2, replace=False)
    stage.fleet.reconcile()
    [leaving] = stage.traffic.dismissed
    stage.fleet.configure(stage.config, 3, replace=False)
    stage.fleet.reconcile()
    assert stage.states == ["RUNNING", "RUNNING", "INITIALIZING"]
    stage.all_ready()
    assert leaving not in stage.fleet.workers


def test_a_worker_that_fails_is_replaced_after_longer_and_longer_pauses_and_then_no_more() -> None:
    stage = Stage()
    for failure in range(1, MOST_FAILURES + 1):
        stage.host.processes[-1].on_end(3)
        assert stage.states == ["UNHEALTHY"]
        started = len(stage.host.processes)
        assert started == failure
        stage.wait(2 ** (failure - 1) - 1)
        assert len(stage.host.processes) == started
        stage.wait(1)
    stage.wait(3600)
    assert len(stage.host.processes) == MOST_FAILURES
    assert stage.states == ["UNHEALTHY"], "it stays, so that one can see why"
    stage.fleet.configure({**stage.config, "env": {"A": "1"}}, 2, replace=True)
    stage.fleet.reconcile()
    assert stage.states == ["INITIALIZING"]


def test_a_worker_that_fails_its_checks_is_replaced() -> None:
    stage = Stage()
    [worker_id] = stage.fleet.workers
    stage.all_ready()
    stage.traffic.seen[worker_id] = Reachability(unhealthy=True)
    stage.wait(UNHEALTHY_S)
    assert stage.states == ["UNHEALTHY"]
    stage.wait(2)
    assert stage.states == ["INITIALIZING"]
    assert stage.host.processes[0].ended


def test_without_room_a_worker_waits() -> None:
    stage = Stage()
    stage.host.room = False
    stage.traffic.requests = EndpointLoad(2, 0, 0.0)
    stage.fleet.reconcile()
    assert stage.states == ["INITIALIZING", "THROTTLED"]
    stage.host.room = True
    stage.fleet.reconcile()
    assert stage.states == ["INITIALIZING", "INITIALIZING"]


@pytest.mark.parametrize("ended_while_frozen", [False, True])
def test_flashboot(ended_while_frozen: bool) -> None:
    stage = Stage(flashboot="FLASHBOOT", workers={"min": 0, "max": 1, "idleTimeout": 10})
    stage.traffic.requests = EndpointLoad(1, 0, 0.0)
    stage.fleet.reconcile()
    stage.all_ready()
    stage.traffic.requests = EndpointLoad(0, 0, 0.0)
    stage.wait(12)
    [process] = stage.host.processes
    assert (stage.states, process.frozen, process.ended) == ([], True, False)
    if ended_while_frozen:
        process.on_end(1)
    stage.traffic.requests = EndpointLoad(1, 0, 0.0)
    stage.fleet.reconcile()
    if ended_while_frozen:
        assert stage.states == ["INITIALIZING"]
    else:
        assert (stage.states, process.frozen, stage.traffic.dismissed) == (["IDLE"], False, set())


def test_flashboot_keeps_nobody_for_ever() -> None:
    stage = Stage(flashboot="FLASHBOOT", workers={"min": 0, "max": 1, "idleTimeout": 10})
    stage.traffic.requests = EndpointLoad(1, 0, 0.0)
    stage.fleet.reconcile()
    stage.all_ready()
    stage.traffic.requests = EndpointLoad(0, 0, 0.0)
    stage.wait(700)
    assert stage.host.processes[0].ended
