"""`engineroom serve` as a process of its own, with the echo engine unless a test says otherwise."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
from prepared_python import PREPARED

from engineroom_workers.testing import COMMAND, Door, DoorProcess, free_port, new_process
from engineroom_workers.testing import serving as serving_any

__all__ = ["COMMAND", "Door", "ask", "free_port", "serving"]


def ask(door: Door, **fields: Any) -> httpx.Response:
    """The response to a chat request. fields: of its body, which says hello by default."""
    body = {"messages": [{"role": "user", "content": "Hello"}], **fields}
    return httpx.post(f"{door.url}/v1/chat/completions", json=body, timeout=60)


def _fork(command: str, environ: Mapping[str, str]) -> DoorProcess:
    """`engineroom serve` as a fork of a Python that has imported it, where that makes no difference."""
    if not PREPARED.suits(environ):
        return new_process(command, environ)
    reading, writing = os.pipe()
    with open(os.devnull, "r+b") as nowhere, open(writing, "wb") as log:
        process = PREPARED.fork(["serve"], environ, (nowhere.fileno(), nowhere.fileno(), log.fileno()))
    process.stderr = open(reading, encoding="utf-8", errors="replace")  # noqa: SIM115 - `serving` closes it
    return process


@contextmanager
def serving(
    env: Mapping[str, str] | None = None, ready: bool = True, seconds: float = 60, anew: bool = False
) -> Iterator[Door]:
    """A door with the echo engine, unless `env` names another.

    Args:
        anew: whether it is started as a user starts it, with a new Python: for tests of the start.
    """
    start = new_process if anew else _fork
    with serving_any(
        {"ENGINE": "echo", **(env or {})},
        ready,
        seconds,
        start=start,
    ) as door:
        yield door
