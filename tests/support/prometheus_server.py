"""A real Prometheus, started as docker-compose.yml starts it; tests skip where the program is missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml
from http_door import free_port
from programs import need
from server_process import ServerProcess

ROOT = Path(__file__).parents[2]
FILES = ROOT / "docker/compose/prometheus"


def program(name: str) -> str:
    """`prometheus` or `promtool`."""
    need(name, "--version")
    return name


class Prometheus:
    """Scrapes the worker at `port`, every half second.

    Args:
        labels: what the worker's series have beside their own.
        environ: what docker-compose.yml says of keys.
    """

    def __init__(self, folder: Path, port: int, labels: Mapping[str, str] | None = None, **environ: str) -> None:
        program("prometheus")
        shutil.copytree(FILES, folder / "etc")
        key = str(folder / "metrics_key")
        # In place of Docker's name server, which knows every container that goes by the name.
        configuration = yaml.safe_load((FILES / "prometheus.yml").read_text())
        (job,) = configuration["scrape_configs"]
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": [f"127.0.0.1:{port}"], "labels": dict(labels or {})}]
        (folder / "etc/prometheus.yml").write_text(yaml.safe_dump(configuration))
        for name, here in {
            "/tmp/metrics_key": key,
            "_interval: 10s": "_interval: 500ms",
        }.items():
            for file in ("prometheus.yml", "start.sh"):
                text = (folder / "etc" / file).read_text()
                (folder / "etc" / file).write_text(text.replace(name, here))
        service = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["prometheus"]
        options = [part.replace("/etc/prometheus", str(folder / "etc")) for part in service["command"]]
        options = [part.replace("=/prometheus", f"={folder / 'data'}") for part in options]
        options = [part.replace("${PROMETHEUS_RETENTION:-15d}", "15d") for part in options]
        self.url = f"http://127.0.0.1:{free_port()}"
        address = self.url.removeprefix("http://")
        self._process = ServerProcess(
            ["sh", str(folder / "etc/start.sh"), *options, f"--web.listen-address={address}"],
            folder / "prometheus.log",
            {"PATH": os.environ["PATH"], **environ},
        )
        self.until(lambda: httpx.get(f"{self.url}/-/ready").status_code == 200)

    def until(self, condition: Callable[[], object], seconds: float = 60) -> None:
        """Wait until `condition()` holds; it may fail to connect. Prometheus learns something new with each scrape,
        and works out whatever it is asked.
        """

        def holds() -> object:
            try:
                return condition()
            except httpx.TransportError:
                return False

        self._process.until(holds, seconds, every=0.25)

    def get(self, path: str, **parameters: str | float) -> Any:
        """What its API answers; it must not be an error."""
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=30).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression: str) -> list[Any]:
        """The series of an expression, now."""
        series: list[Any] = self.get("query", query=expression)["result"]
        return series

    def target(self) -> dict[str, Any]:
        """The worker, as Prometheus sees it; some seconds pass before it looks."""
        targets: list[dict[str, Any]] = self.get("targets")["activeTargets"]
        return targets[0] if targets else {"health": "unknown"}

    def stop(self) -> None:
        self._process.stop()
