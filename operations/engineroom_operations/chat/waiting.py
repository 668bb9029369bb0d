"""What a chat waits for: a server that is loading, an endpoint that has no worker yet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import aiohttp

from ..targets.connection import TargetError, explained
from ..targets.target import RemoteTarget
from .client import ChatClient

_LOADING_S = 3600
"""Seconds for which a server may be loading before the chat gives up."""
_PAUSE_S = 2
_LOOK_S = 2


class Waiting:
    """How long a request has been waiting, and what is known of why: the text beside the spinner.

    `watch` asks RunPod for the workers of a queue endpoint meanwhile; that starts none.
    """

    def __init__(self, target: RemoteTarget, what: str) -> None:
        self._target = target
        self._what = what
        self._began = time.monotonic()
        self._workers = ""

    def say(self, what: str) -> None:
        """From now on this is waited for."""
        self._what = what

    def __call__(self) -> str:
        seconds = time.monotonic() - self._began
        passed = f" {seconds:.0f} s" if seconds >= 1 else ""
        return f"{self._what}{passed}{self._workers}"

    async def watch(self, session: aiohttp.ClientSession) -> None:
        """Look after the endpoint's workers until cancelled."""
        while self._target.address.kind == "queue":
            await asyncio.sleep(_LOOK_S)
            self._workers = await _workers_of(self._target, session)


async def _workers_of(target: RemoteTarget, session: aiohttp.ClientSession) -> str:
    """In words, e.g. `: no worker is ready, 1 initializing`; empty where some are, or where nothing is known."""
    try:
        with explained(target):
            async with session.get(f"{target.address.url}/health") as response:
                body = await response.json(content_type=None)
        workers = {str(state): int(count) for state, count in body["workers"].items()}
    except (TargetError, ValueError, KeyError, TypeError, AttributeError):
        return ""
    if workers.get("ready") or workers.get("running") or workers.get("idle"):
        return ""
    others = [f"{count} {state}" for state, count in workers.items() if count]
    return ": " + ", ".join(["no worker is ready", *others])


async def models_of(client: ChatClient, loading: Callable[[str], None]) -> list[str]:
    """The served models, once the server is ready.

    Args:
        loading: called with what the server says while it is still loading.

    Raises:
        TargetError: see `ChatClient.models`; or it has been loading for an hour.
    """
    deadline = time.monotonic() + _LOADING_S
    while True:
        try:
            return await client.models()
        except TargetError as error:
            if error.status != 503 or error.retry_after is None or time.monotonic() > deadline:
                raise
            loading(str(error))
            await asyncio.sleep(min(error.retry_after or _PAUSE_S, _PAUSE_S))
