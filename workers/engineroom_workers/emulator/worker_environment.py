"""The variables that the platform gives a worker, and what a worker's process on this machine needs besides."""

from __future__ import annotations

import os
import socket
import sys
from uuid import uuid4

from .options import EndpointOptions

GPU = "Emulated+GPU"

OFF_PLATFORM = {
    "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
    "RUNPOD_SKIP_GPU_CHECK": "true",
}
"""Set beside the platform's variables, unless the user has set them: the SDK's fitness checks want the platform's
machine and the internet."""


def worker_environment(url: str, options: EndpointOptions, worker_id: str | None = None) -> dict[str, str]:
    """The variables that the platform sets, with its placeholders, for one worker.

    `$ID` and `$RUNPOD_POD_ID` are left for the SDK to fill in, as the platform leaves them. Every URL carries a
    query, since the SDK appends to it.

    Args:
        url: the emulator's, `http://host:port`.
        options: the endpoint's.
        worker_id: the pod's id; a new one by default.
    """
    worker_id = worker_id or new_worker_id()
    base = f"{url}/v2/{options.endpoint_id}"
    return {
        "RUNPOD_ENDPOINT_ID": options.endpoint_id,
        "RUNPOD_POD_ID": worker_id,
        "RUNPOD_POD_HOSTNAME": f"{worker_id}-emulated",
        "RUNPOD_AI_API_KEY": options.api_key or "emulated",
        "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID?gpu={GPU}",
        "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID?gpu={GPU}",
        "RUNPOD_WEBHOOK_POST_STREAM": f"{base}/job-stream/$RUNPOD_POD_ID/$ID?gpu={GPU}",
        "RUNPOD_WEBHOOK_PING": f"{base}/ping/$RUNPOD_POD_ID?gpu={GPU}",
        "RUNPOD_PING_INTERVAL": str(round(options.ping_interval * 1000)),
        "RUNPOD_ENDPOINT_BASE_URL": f"{url}/v2",
    }


def search_path() -> str:
    """PATH for a worker: the command `engineroom` is there although nobody activated its virtual environment."""
    return os.pathsep.join((os.environ.get("PATH", os.defpath), os.path.dirname(sys.executable)))


def free_port() -> int:
    """A port of loopback on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def new_worker_id() -> str:
    """An id such as the platform gives its pods."""
    return uuid4().hex[:14]
