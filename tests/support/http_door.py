"""`engineroom serve` as a process of its own, with the echo engine unless a test says otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from engineroom_workers.testing import COMMAND, Door, free_port
from engineroom_workers.testing import serving as serving_any

__all__ = ["COMMAND", "Door", "ask", "free_port", "serving"]


def ask(door: Door, **fields: Any) -> httpx.Response:
    """The response to a chat request. fields: of its body, which says hello by default."""
    body = {"messages": [{"role": "user", "content": "Hello"}], **fields}
    return httpx.post(f"{door.url}/v1/chat/completions", json=body, timeout=60)


@contextmanager
def serving(env: Mapping[str, str] | None = None, ready: bool = True, seconds: float = 60) -> Iterator[Door]:
    """A door with the echo engine, unless `env` names another."""
    with serving_any({"ENGINE": "echo", **(env or {})}, ready, seconds) as door:
        yield door
