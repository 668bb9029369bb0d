"""A client of the management API whose every exchange is held against RunPod's OpenAPI file, where that is present."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import anyio
import httpx
from runpod_contract import check_exchange

GPU = {"pools": ["ADA_24"]}
OURS = "ghcr.io/someone/engineroom:0.1.0"
ECHO = {"ENGINE": "echo"}
BY_COUNT = {"type": "REQUEST_COUNT", "requestCount": 1}
BY_DELAY = {"type": "QUEUE_DELAY", "queueDelay": 1}


class ManagementClient:
    """Sends requests as a client of RunPod's API does."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.AsyncClient(base_url=url, headers={"Authorization": "Bearer any"}, timeout=60)

    async def send(
        self, method: str, path: str, body: object = None, *, refused: bool = False, **more: Any
    ) -> httpx.Response:
        """A response, whatever it says.

        Args:
            refused: whether the request is wrong on purpose.
        """
        response = (
            await self.http.request(method, path, json=body, **more)
            if body is not None
            else (await self.http.request(method, path, **more))
        )
        content_type = response.headers.get("content-type", "")
        check_exchange(method, str(response.url), body, response.status_code, content_type, response.content, refused)
        return response

    async def ok(self, method: str, path: str, body: object = None, **more: Any) -> Any:
        """The JSON of a response that is none of an error; None for an empty one."""
        response = await self.send(method, path, body, **more)
        assert response.is_success, response.text
        return response.json() if response.content else None

    async def refusal(self, method: str, path: str, body: object = None, **more: Any) -> tuple[int, str]:
        """The status and the words of an error."""
        response = await self.send(method, path, body, refused=True, **more)
        assert response.is_error, response.text
        document = response.json()
        assert document["status"] == response.status_code
        return response.status_code, json.dumps([document["detail"], *document.get("errors", [])])

    async def endpoint(self, **changes: Any) -> dict[str, Any]:
        """A new endpoint: a queue on GPUs, whose workers run this project's image."""
        defaults = {"name": "e", "type": "QUEUE", "scaling": BY_COUNT, "image": OURS, "gpu": GPU}
        settings = {**defaults, **changes, "env": {**ECHO, **changes.get("env", {})}}
        endpoint: dict[str, Any] = await self.ok("POST", "/v2/serverless", settings)
        return endpoint

    async def workers(self, endpoint: dict[str, Any]) -> list[dict[str, Any]]:
        listed = await self.ok("GET", f"/v2/serverless/{endpoint['id']}/workers")
        workers: list[dict[str, Any]] = listed["workers"]
        return workers

    async def workers_when(
        self, endpoint: dict[str, Any], condition: Callable[[list[dict[str, Any]]], object], timeout: float = 60
    ) -> list[dict[str, Any]]:
        """The workers, once they are as they should be."""
        deadline = time.monotonic() + timeout
        while not condition(workers := await self.workers(endpoint)):
            assert time.monotonic() < deadline, workers
            await anyio.sleep(0.02)
        return workers
