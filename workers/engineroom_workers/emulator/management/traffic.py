"""What is between an endpoint's clients and its workers: a queue, or a load balancer. The fleet asks both the same."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from ..load_balancer import BalancedWorker, LoadBalancer
from ..platform import Emulator
from ..worker_environment import worker_environment
from .ports import PortMap, http_ports
from .scaling import EndpointLoad

DEFAULT_PORT = 80
"""Where a load balancer looks for its workers unless the endpoint's PORT says otherwise (the OpenAPI file)."""
UNREACHABLE_S = 480.0
"""How long a worker lives that the load balancer cannot reach (RunPod's documentation)."""


class Reachability(NamedTuple):
    """A worker as the queue or the load balancer sees it."""

    unhealthy: bool = False
    ready: bool = False
    busy: bool = False


class Traffic(Protocol):
    """The requests of one endpoint, and the workers that they go to."""

    patience: float | None
    """Seconds after which a worker ends that has never been ready; None where there is no such time."""

    def load(self) -> EndpointLoad:
        """What there is to do."""

    def environ(self, worker_id: str) -> Mapping[str, str]:
        """The variables that tell a worker where its requests come from."""

    def enter(self, worker_id: str, env: Mapping[str, str], exposed: list[str], ports: PortMap) -> str | None:
        """A worker was started.

        Args:
            env: the endpoint's own variables.
            exposed: its exposed ports.

        Returns:
            Why no request will ever reach it, where that is certain.
        """

    def look(self, worker_id: str) -> Reachability:
        """What is known of a worker."""

    def dismiss(self, worker_id: str) -> None:
        """Give a worker nothing more to do."""

    def recall(self, worker_id: str) -> None:
        """Give it work again."""

    def forget(self, worker_id: str, reason: str) -> None:
        """A worker is gone."""


class QueueTraffic:
    """A queue endpoint's."""

    patience: float | None = None

    def __init__(self, emulator: Emulator, url: str) -> None:
        self._emulator = emulator
        self._url = url

    def load(self) -> EndpointLoad:
        emulator = self._emulator
        waiting = [*emulator.queue.values(), *emulator.batch_queue.values()]
        oldest = min((job.queued_at for job in waiting), default=time.time())
        return EndpointLoad(len(waiting), emulator.in_progress(), time.time() - oldest)

    def environ(self, worker_id: str) -> Mapping[str, str]:
        return worker_environment(self._url, self._emulator.options, worker_id)

    def enter(self, worker_id: str, env: Mapping[str, str], exposed: list[str], ports: PortMap) -> str | None:
        self._emulator.workers.get_or_add(worker_id)
        return None

    def look(self, worker_id: str) -> Reachability:
        worker = self._emulator.workers.by_id.get(worker_id)
        if worker is None:
            return Reachability(unhealthy=True)
        return Reachability(worker.unhealthy is not None, worker.first_poll_at is not None, bool(worker.jobs))

    def dismiss(self, worker_id: str) -> None:
        worker = self._emulator.workers.by_id.get(worker_id)
        if worker is not None:
            self._emulator.dismiss(worker)
            worker.stop_ping_timer()

    def recall(self, worker_id: str) -> None:
        worker = self._emulator.workers.get_or_add(worker_id)
        worker.stopping = False
        worker.leaving = False

    def forget(self, worker_id: str, reason: str) -> None:
        self._emulator.workers.remove(worker_id, reason)


class BalancedTraffic:
    """A load-balancing endpoint's."""

    patience: float | None = UNREACHABLE_S

    def __init__(self, balancer: LoadBalancer, endpoint_id: str) -> None:
        self._balancer = balancer
        self._endpoint_id = endpoint_id

    def load(self) -> EndpointLoad:
        waiting = self._balancer.waiting.values()
        now = time.monotonic()
        running = sum(worker.running for worker in self._balancer.workers.values())
        return EndpointLoad(len(waiting), running, now - min(waiting, default=now))

    def environ(self, worker_id: str) -> Mapping[str, str]:
        return {
            "RUNPOD_ENDPOINT_ID": self._endpoint_id,
            "RUNPOD_POD_ID": worker_id,
            "RUNPOD_POD_HOSTNAME": f"{worker_id}-emulated",
        }

    def enter(self, worker_id: str, env: Mapping[str, str], exposed: list[str], ports: PortMap) -> str | None:
        port = _port(env.get("PORT"), DEFAULT_PORT)
        health_port = _port(env.get("PORT_HEALTH"), port)
        problem = None
        for wanted in (port, health_port):
            if wanted not in http_ports(exposed):
                problem = f"the load balancer looks for port {wanted}, and {wanted}/http is not among the exposed ports"
            elif wanted not in ports.host_ports:
                problem = f"the load balancer looks for port {wanted}, and the container does not listen there"
        # Nobody listens on port 0.
        url = f"http://127.0.0.1:{0 if problem else ports.host_ports[port]}"
        health_url = f"http://127.0.0.1:{0 if problem else ports.host_ports[health_port]}"
        self._balancer.add(BalancedWorker(worker_id, url, health_url + env.get("HEALTH_CHECK_PATH", "/ping")))
        return problem

    def look(self, worker_id: str) -> Reachability:
        worker = self._balancer.workers.get(worker_id)
        if worker is None:
            return Reachability(unhealthy=True)
        unhealthy = worker.answered and not worker.healthy and not worker.initializing
        return Reachability(unhealthy, worker.healthy, worker.running > 0)

    def dismiss(self, worker_id: str) -> None:
        self._mark(worker_id, leaving=True)

    def recall(self, worker_id: str) -> None:
        self._mark(worker_id, leaving=False)

    def forget(self, worker_id: str, reason: str) -> None:
        self._balancer.remove(worker_id)

    def _mark(self, worker_id: str, leaving: bool) -> None:
        worker = self._balancer.workers.get(worker_id)
        if worker is not None:
            worker.leaving = leaving


def _port(value: str | None, default: int) -> int:
    """A port that a variable names."""
    return int(value) if value is not None and value.isdecimal() else default
