"""The proxies in front of the workers: Envoy and nginx, told of addresses as a cluster's controllers tell them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from processes import free_port, until

_HEADER = "x-worker"
"""Which worker had a request, as the proxy says it to the client."""
_V3 = "type.googleapis.com/envoy"


class RolloutFront(ABC):
    """A running proxy.

    Args:
        folder: for its files.
        retries: whether it sends again to another worker what a worker has not begun to answer: what could not connect,
            and what a worker refused with a 503.
    """

    name: str

    def __init__(self, folder: Path, retries: bool) -> None:
        self.folder = folder / self.name
        self.folder.mkdir(parents=True)
        self.retries = retries
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def route(self, ports: Sequence[int]) -> None:
        """Send requests to these workers from now on."""

    @abstractmethod
    def _command(self) -> list[str]:
        """What starts it, once `route` has written where to."""

    @abstractmethod
    def retried(self) -> int:
        """How many requests it has sent again."""

    async def start(self, ports: Sequence[int]) -> None:
        """Start it, and wait until it serves.

        Raises:
            SystemExit: it ended; with what it said.
        """
        await asyncio.to_thread(self._start, ports)

    def _start(self, ports: Sequence[int]) -> None:
        self.route(ports)
        log = self.folder / "log"
        with log.open("wb") as file:
            self._process = subprocess.Popen(self._command(), stdout=file, stderr=file, cwd=self.folder)
        until(f"{self.url}/livez", child=self._process, seconds=30, log=log)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


class EnvoyFront(RolloutFront):
    """Envoy with endpoints from a file, which it watches."""

    name = "Envoy"

    def __init__(self, folder: Path, retries: bool) -> None:
        super().__init__(folder, retries)
        self._admin = free_port()
        self._endpoints = self.folder / "endpoints" / "workers.json"
        self._endpoints.parent.mkdir()

    def route(self, ports: Sequence[int]) -> None:
        hosts = [{"endpoint": {"address": _address(port)}} for port in ports]
        assignment = {
            "@type": f"{_V3}.config.endpoint.v3.ClusterLoadAssignment",
            "cluster_name": "workers",
            "endpoints": [{"lb_endpoints": hosts}],
        }
        new = self.folder / "workers.new"
        new.write_text(json.dumps({"resources": [assignment]}))
        new.replace(self._endpoints)

    def _command(self) -> list[str]:
        bootstrap = self.folder / "envoy.json"
        bootstrap.write_text(json.dumps(self._bootstrap()))
        program = Path(sys.executable).with_name("envoy")
        if not program.exists():
            raise SystemExit("Envoy is not installed: make bench-rollout installs it")
        return [str(program), "-c", str(bootstrap), "--log-level", "warning", "--base-id", str(os.getpid())]

    def _bootstrap(self) -> dict[str, Any]:
        route: dict[str, Any] = {"cluster": "workers", "timeout": "0s"}
        if self.retries:
            predicate = "envoy.retry_host_predicates.previous_hosts"
            kind = f"{_V3}.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
            route["retry_policy"] = {
                "retry_on": "connect-failure,retriable-status-codes",
                "retriable_status_codes": [503],
                "num_retries": 4,
                "retry_host_predicate": [{"name": predicate, "typed_config": {"@type": kind}}],
                "host_selection_retry_max_attempts": 5,
            }
        manager = {
            "@type": f"{_V3}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "front",
            "route_config": {
                "virtual_hosts": [
                    {
                        "name": "workers",
                        "domains": ["*"],
                        "routes": [{"match": {"prefix": "/"}, "route": route}],
                        "response_headers_to_add": [{"header": {"key": _HEADER, "value": "%UPSTREAM_HOST%"}}],
                    }
                ]
            },
            "http_filters": [
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {"@type": f"{_V3}.extensions.filters.http.router.v3.Router"},
                }
            ],
        }
        chain = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
        source = {"path": str(self._endpoints), "watched_directory": {"path": str(self._endpoints.parent)}}
        return {
            "node": {"id": "front", "cluster": "front"},
            "admin": {"address": _address(self._admin)},
            "static_resources": {
                "listeners": [{"address": _address(self.port), "filter_chains": [{"filters": [chain]}]}],
                "clusters": [
                    {
                        "name": "workers",
                        "type": "EDS",
                        "connect_timeout": "1s",
                        # Envoy's own limit is three at a time, in all; Istio has none either.
                        "circuit_breakers": {"thresholds": [{"max_retries": 1000}]},
                        "eds_cluster_config": {
                            "eds_config": {"resource_api_version": "V3", "path_config_source": source}
                        },
                    }
                ],
            },
        }

    def retried(self) -> int:
        url = f"http://127.0.0.1:{self._admin}/stats?filter=cluster.workers.upstream_rq_retry$"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.read().rpartition(b":")[2])


class NginxFront(RolloutFront):
    """nginx, which is told to read its configuration again for each change of addresses.

    It closes its connections to clients then, so that it keeps none: a request on its way on one would be lost, by no
    worker's fault.
    """

    name = "nginx"

    def route(self, ports: Sequence[int]) -> None:
        servers = "\n".join(f"server 127.0.0.1:{port};" for port in ports) or "server 127.0.0.1:1 down;"
        again = "error timeout http_503 non_idempotent" if self.retries else "off"
        (self.folder / "nginx.conf").write_text(
            f"""daemon off; worker_processes 1; pid nginx.pid; error_log stderr error;
            events {{ worker_connections 4096; }}
            http {{
                log_format retries '$upstream_addr';
                access_log requests.log retries;
                client_body_temp_path body; proxy_temp_path proxy;
                fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
                upstream workers {{ {servers} keepalive 32; }}
                server {{
                    listen 127.0.0.1:{self.port} backlog=1024;
                    keepalive_timeout 0;
                    add_header {_HEADER} $upstream_addr always;
                    location / {{
                        proxy_pass http://workers;
                        proxy_http_version 1.1;
                        proxy_set_header Connection "";
                        proxy_buffering off;
                        proxy_connect_timeout 1s;
                        proxy_read_timeout 300s;
                        proxy_next_upstream {again};
                    }}
                }}
            }}"""
        )
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def _command(self) -> list[str]:
        # Outside PATH for some users, Debian's is in /usr/sbin.
        program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            raise SystemExit("nginx is not installed; on Debian: apt-get install nginx-light")
        (self.folder / "requests.log").touch()
        if os.getuid() == 0:
            return [program, "-p", str(self.folder), "-c", "nginx.conf", "-g", "user root;"]
        return [program, "-p", str(self.folder), "-c", "nginx.conf"]

    def retried(self) -> int:
        lines = (self.folder / "requests.log").read_text().splitlines()
        return sum("," in line for line in lines)


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
