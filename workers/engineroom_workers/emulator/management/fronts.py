"""What an endpoint's clients speak to: a queue's routes, or a load balancer."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from engineroom.asgi import Receive, Scope, Send

from ..app import EmulatorApp
from ..faults import Faults
from ..jobs import Job
from ..load_balancer import LoadBalancer
from ..options import EndpointOptions
from ..platform import Emulator
from .traffic import BalancedTraffic, QueueTraffic, Traffic


class Front(Protocol):
    """The address of an endpoint: one ASGI app."""

    traffic: Traffic
    section: str
    """The first word of its path."""

    def configure(self, config: Mapping[str, Any]) -> None:
        """Take the endpoint's settings."""

    def request_urls(self, env: Mapping[str, str]) -> dict[str, str]:
        """Where clients send requests."""

    def replace_with(self, replace: Callable[[str], None]) -> None:
        """What to call with the id of a worker whose result asks for its replacement."""

    def close(self) -> None:
        """Serve no client any more; workers that still end are answered."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class QueueFront:
    """A queue endpoint at `/v2/<id>`."""

    section = "v2"

    def __init__(self, url: str, options: EndpointOptions, faults: Faults, on_finished: Callable[[Job], None]) -> None:
        self.emulator = Emulator(options, faults)
        self.emulator.on_finished.append(on_finished)
        self.traffic: Traffic = QueueTraffic(self.emulator, url)
        self._app = EmulatorApp(self.emulator)
        self._base = f"{url}/v2/{options.endpoint_id}"

    def configure(self, config: Mapping[str, Any]) -> None:
        self.emulator.options = dataclasses.replace(self.emulator.options, execution_timeout=config["timeout"] / 1000)

    def request_urls(self, env: Mapping[str, str]) -> dict[str, str]:
        base = self._base
        return {
            "run": f"{base}/run",
            "runSync": f"{base}/runsync",
            "status": f"{base}/status/{{job_id}}",
            "stream": f"{base}/stream/{{job_id}}",
            "cancel": f"{base}/cancel/{{job_id}}",
            "retry": f"{base}/retry/{{job_id}}",
            "purgeQueue": f"{base}/purge-queue",
            "health": f"{base}/health",
        }

    def replace_with(self, replace: Callable[[str], None]) -> None:
        self.emulator.on_stop_pod = replace

    def close(self) -> None:
        emulator = self.emulator
        for job in list(emulator.jobs.values()):
            emulator.cancel(job)
        emulator.retire()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


class BalancedFront:
    """A load-balancing endpoint at `/lb/<id>`, with any path behind that."""

    section = "lb"

    def __init__(self, url: str, options: EndpointOptions) -> None:
        prefix = f"/lb/{options.endpoint_id}"
        self.balancer = LoadBalancer(options.api_key, prefix=prefix)
        self.traffic: Traffic = BalancedTraffic(self.balancer, options.endpoint_id)
        self._base = url + prefix
        self._watching = asyncio.create_task(self.balancer.watch())

    def configure(self, config: Mapping[str, Any]) -> None:
        """Nothing of it concerns the load balancer."""

    def request_urls(self, env: Mapping[str, str]) -> dict[str, str]:
        path = env.get("HEALTH_CHECK_PATH", "/ping")
        return {"base": self._base, "health": f"{self._base}/{path.lstrip('/')}"}

    def replace_with(self, replace: Callable[[str], None]) -> None:
        """A request's response cannot ask for that."""

    def close(self) -> None:
        self.balancer.close()
        self._watching.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.balancer(scope, receive, send)
