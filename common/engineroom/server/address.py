"""Where an engine's server listens, and how long it is waited for there."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import NamedTuple

METRICS_S = 2.0
"""Seconds that a server has to give its metrics, so that whoever asks a door for all of them waits no longer."""


class Address(NamedTuple):
    """Where the engine's server listens: the path of a Unix socket, or a port on 127.0.0.1."""

    unix: str | None
    port: int | None


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on now."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Ports on 127.0.0.1 that nobody listens on now, no two of them the same."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
