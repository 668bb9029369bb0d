"""Why a worker or a pod is not well: what RunPod's states mean, and the last lines of its log."""

from __future__ import annotations

import asyncio

import aiohttp

from ..runpod_api.client import RunPodClient
from ..runpod_api.errors import RunPodApiError
from .deployment import Deployment
from .log_reading import last_lines

_LINES = 8
_WORKERS = 5
"""How many are explained; the others have mostly the same reason."""
_THROTTLED = "RunPod has no free GPU of the endpoint's pools now: allow more pools or data centers, or wait"
_UNWELL = ("UNHEALTHY", "ERROR", "EXITED")


async def reasons(api: RunPodClient, deployment: Deployment) -> dict[str, list[str]]:
    """Id of each worker that is not well, or of the pod -> why."""
    if deployment.kind == "pod":
        return {deployment.id: await _lines(api, deployment, deployment.id)} if deployment.state in _UNWELL else {}
    unwell = [worker for worker in deployment.workers if worker.status == "UNHEALTHY"][:_WORKERS]
    lines = await asyncio.gather(*(_lines(api, deployment, worker.id) for worker in unwell))
    explained = {worker.id: found_lines for worker, found_lines in zip(unwell, lines, strict=True)}
    throttled = [worker for worker in deployment.workers if worker.status == "THROTTLED"]
    return explained | {worker.id: [_THROTTLED] for worker in throttled[:1]}


async def _lines(api: RunPodClient, deployment: Deployment, worker: str) -> list[str]:
    try:
        return [event.line.rstrip() for event in await last_lines(api, deployment, worker, _LINES)]
    except (RunPodApiError, aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
        return [f"(its log cannot be read: {str(error).partition(chr(10))[0] or type(error).__name__})"]
