"""A container's ports, and the ports of this machine that stand for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple


class PortMap(NamedTuple):
    """Where a container's server listens.

    environ: the variables that make it listen there.
    host_ports: this machine's port for each of the container's.
    """

    environ: Mapping[str, str]
    host_ports: Mapping[int, int]


def map_ports(environ: Mapping[str, str], free_port: Callable[[], int]) -> PortMap:
    """Give a container ports of this machine, which it has to share with others.

    Its server listens on PORT, and for checks of its health on PORT_HEALTH, as the load balancer's workers and this
    project's do. Nothing else of a container can be reached.
    """
    changed = {"HOST": "127.0.0.1"}
    host_ports: dict[int, int] = {}
    for name in ("PORT", "PORT_HEALTH"):
        port = environ.get(name, "")
        if port.isdecimal():
            host_ports.setdefault(int(port), free_port())
            changed[name] = str(host_ports[int(port)])
    return PortMap(changed, host_ports)


def http_ports(ports: list[str]) -> set[int]:
    """The ports that are exposed for HTTP, of a list such as `8000/http, 22/tcp`."""
    numbers = [port.partition("/")[0] for port in ports if port.endswith("/http")]
    return {int(number) for number in numbers if number.isdecimal()}
