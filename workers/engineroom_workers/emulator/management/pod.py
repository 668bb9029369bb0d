"""One pod: its settings, its state, and the container's process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from .catalog import Catalog
from .hosts import ContainerProcess
from .identifiers import timestamp
from .launcher import Launcher
from .ledger import Ledger, Usage
from .logs import Log
from .ports import http_ports
from .rules.pods import changes_container, hourly_rate
from .states import PodEvent, PodStatus, next_status, permitted_actions

PLACING_S: Final = 0.3
"""How long a pod is PROVISIONING, so that clients can see it."""
STARTING_S: Final = 0.3
"""How long it is STARTING; then its container counts as healthy (a guess), whatever its server says."""


class Pod:
    """A pod that exists until `terminate`. `advance` moves it on; call it often.

    Args:
        config: its settings, as the rules made them.
        data_center: where it is.
        injected: variables that only its process has.
        report: called with a line of text at every change of its state.
    """

    def __init__(
        self,
        pod_id: str,
        config: dict[str, Any],
        data_center: str,
        injected: Mapping[str, str],
        launcher: Launcher,
        catalog: Catalog,
        ledger: Ledger,
        report: Callable[[str], None],
    ) -> None:
        self.id = pod_id
        self.config = config
        self.status: PodStatus = "PROVISIONING"
        self.log = Log()
        self.host_ports: Mapping[int, int] = {}
        self.created_at = time.time()
        self.started_at: float | None = None
        self._data_center = data_center
        self._injected = injected
        self._launcher = launcher
        self._catalog = catalog
        self._ledger = ledger
        self._report = report
        self._since = time.monotonic()
        self._process: ContainerProcess | None = None
        self._usage: Usage | None = None

    def permits(self, action: str) -> bool:
        """Whether a client may ask for this now."""
        return action in permitted_actions(self.status)

    def act(self, action: PodEvent) -> None:
        """Do what a client asks for, which must be permitted."""
        self._move(action)
        if action in ("stop", "restart", "terminate"):
            self._end_process()
        if action == "restart":
            self._start_process()
        if action == "terminate":
            self.log.close()

    def update(self, config: dict[str, Any]) -> None:
        """Take other settings; a running container starts anew where it must."""
        anew = changes_container(self.config, config)
        self.config = config
        if anew and self.status == "RUNNING":
            self.act("restart")
        elif anew and self.status == "STARTING":
            self._end_process()
            self._start_process()

    def advance(self) -> None:
        """Move on what is only a matter of time."""
        waited = time.monotonic() - self._since
        if self.status == "PROVISIONING" and waited >= PLACING_S and self._launcher.has_room():
            self._move("placed")
            self._start_process()
        elif self.status == "STARTING" and waited >= STARTING_S:
            self._move("began")

    def url_of(self, port: int) -> str | None:
        """Where this machine reaches one of the pod's exposed ports; None where it cannot."""
        if port not in http_ports(self.config["ports"]) or port not in self.host_ports:
            return None
        return f"http://127.0.0.1:{self.host_ports[port]}" if self.status in ("STARTING", "RUNNING") else None

    def as_json(self) -> dict[str, Any]:
        """The pod as the management API shows it."""
        running = self.status == "RUNNING"
        config = {name: value for name, value in self.config.items() if name != "globalNetworking"}
        return {
            "id": self.id,
            **config,
            "cudaVersion": self.config.get("cudaVersion"),
            "status": self.status,
            "actions": permitted_actions(self.status),
            "dataCenterId": self._data_center,
            "ssh": {"proxy": None, "direct": None},
            "template": None,
            "cost": 0.0 if self.status in ("EXITED", "TERMINATED") else hourly_rate(self.config, self._catalog),
            "globalNetworking": {"enabled": self.config["globalNetworking"]},
            "runtime": self._runtime() if running else None,
            "createdAt": timestamp(self.created_at),
            "startedAt": None if self.started_at is None else timestamp(self.started_at),
        }

    def _runtime(self) -> dict[str, Any]:
        ports = [
            {"private": private, "public": public, "type": "http", "ip": "127.0.0.1"}
            for private, public in self.host_ports.items()
            if private in http_ports(self.config["ports"])
        ]
        return {"uptime": int(time.time() - (self.started_at or time.time())), "ports": ports}

    def _move(self, event: PodEvent) -> None:
        status = next_status(self.status, event)
        assert status is not None, f"{event} at {self.status}"
        self.status = status
        self._since = time.monotonic()
        self.log.system(f"the pod is {status}")
        self._report(f"pod {self.id} ({self.config['name']}) is {status}")

    def _start_process(self) -> None:
        self.started_at = time.time()
        rate = hourly_rate(self.config, self._catalog)
        self._usage = self._ledger.begin("pod", self.id, "gpu" if "gpu" in self.config else "cpu", rate, time.time())
        container = {**self.config, "env": {**self._injected, **self.config["env"]}}
        prepared = self._launcher.prepare(container, self._mounts())
        if prepared is None:
            self.log.system(f"the emulator has no program that stands for the image {self.config['image']}")
            self._end_usage()
            self._move("failed")
            return
        self.host_ports = prepared.ports.host_ports
        platform = {
            "RUNPOD_POD_ID": self.id,
            "RUNPOD_POD_HOSTNAME": f"{self.id}-emulated",
            "RUNPOD_DC_ID": self._data_center,
            "RUNPOD_GPU_COUNT": str(self.config["gpu"]["count"] if "gpu" in self.config else 0),
        }
        started: list[ContainerProcess] = []
        process = self._launcher.start(prepared, platform, self.log, lambda code: self._ended(started[0], code))
        started.append(process)
        self._process = process

    def _mounts(self) -> dict[str, str]:
        """The volume at each path; a persistent disk goes by the pod's own id."""
        mounts = {mount["path"]: mount["volumeId"] for mount in self.config["mounts"].get("network", ())}
        if "persistent" in self.config["mounts"]:
            mounts[self.config["mounts"]["persistent"]["path"]] = self.id
        return mounts

    def _ended(self, process: ContainerProcess, code: int) -> None:
        """A process ended; only that of the present container matters."""
        if process is self._process:
            self._process = None
            self._end_usage()
            self._move("ended" if code == 0 else "failed")

    def _end_process(self) -> None:
        process = self._process
        self._process = None
        self._end_usage()
        if process is not None:
            process.end()

    def _end_usage(self) -> None:
        if self._usage is not None:
            self._usage.end = time.time()
            self._usage = None
