"""Ray for `engineroom ray`: a cluster of our own on this machine for as long as it runs, or one that runs already."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from engineroom.errors import Problem, SettingsError

from .haproxy import find_haproxy, write_starter

logger = logging.getLogger(__name__)

_CONNECT_TIMEOUT_S = 10
_OBJECT_STORE_BYTES = 100_000_000
"""What Ray sets aside for objects that its tasks share: requests never go that way here."""


@contextmanager
def own_cluster(on_loopback: bool, lame_duck: float | None) -> Iterator[None]:
    """Ray on this machine, with Serve's HAProxy; at the end of the block none of it is left.

    Args:
        on_loopback: whether all of it listens on this machine's own address.
        lame_duck: seconds for which a replica that is to end still serves what comes; a second by default.
    """
    # HAProxy's sockets go below it, with a node's id of 56 characters in their path, which may have 97.
    with tempfile.TemporaryDirectory(prefix="er-", dir="/tmp") as folder:
        os.environ.update(_cluster_environment(Path(folder), 1.0 if lame_duck is None else lame_duck))
        import ray

        options: dict[str, Any] = {"_node_ip_address": "127.0.0.1"} if on_loopback else {}
        ray.init(
            "local",
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            configure_logging=False,
            **options,
        )
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def cluster_at(address: str) -> Iterator[None]:
    """A cluster that runs already, and goes on when the block has ended.

    Raises:
        SettingsError: there is none at the address, or none that this Ray understands.
    """
    if "RAY_AUTH_MODE" not in os.environ and _has_token():
        # A head uses the token that is there unless it is told not to; a client only where it is told to.
        os.environ["RAY_AUTH_MODE"] = "token"
    import ray

    try:
        _check_reachable(address)
        ray.init(address, configure_logging=False)
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        mode = os.environ.get("RAY_AUTH_MODE", "disabled")
        message = f"no cluster at {address} takes us: {reason} (RAY_AUTH_MODE={mode}; a cluster may want another)"
        raise SettingsError([Problem("RAY_ADDRESS", message)]) from error
    try:
        yield
    finally:
        ray.shutdown()


def _has_token() -> bool:
    """Whether Ray finds a token for clusters that demand one."""
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    file = Path(named) if named else Path.home() / ".ray" / "auth_token"
    return "RAY_AUTH_TOKEN" in os.environ or file.is_file()


def _check_reachable(address: str) -> None:
    """Raises OSError where nobody listens at HOST:PORT: Ray would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_TIMEOUT_S).close()


def _cluster_environment(folder: Path, lame_duck: float) -> Mapping[str, str]:
    """What the cluster's processes get beside this one's environment; what is set there stays as it is.

    HAProxy, which comes with Ray, hands a request straight to a replica's own socket. Serve's older proxy makes a call
    of an actor for it, and another for each piece of its stream.

    Args:
        folder: for its files. By default all clusters of a machine would have them in one place.
    """
    haproxy = find_haproxy()
    if haproxy is None:
        logger.warning("there is no HAProxy here: Serve's own proxy is slower, which docs/ray.md shows in figures")
    stats_port, metrics_port, fallback_port = _free_ports(3)
    wanted = {
        "RAY_SERVE_ENABLE_HA_PROXY": "1" if haproxy else "0",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats_port),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics_port),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback_port),
        "RAY_SERVE_HAPROXY_NBTHREAD": str(min(4, os.cpu_count() or 1)),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": f"{lame_duck:g}",
        # Serve's own lines are in Ray's folder of logs; replicas' come to the terminal.
        "RAY_SERVE_LOG_TO_STDERR": "0",
        # Ray reports its use to its makers unless it is told not to.
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    environment = {name: value for name, value in wanted.items() if name not in os.environ}
    if haproxy is not None:
        environment["RAY_SERVE_HAPROXY_BINARY_PATH"] = str(write_starter(haproxy, folder))
    return environment


def _free_ports(number: int) -> list[int]:
    """Ports that nobody has."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(number)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
