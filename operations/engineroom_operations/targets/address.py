"""Addresses as people have them: a server's with or without `/v1`, an endpoint's from RunPod's console, `host:port`."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, TypeAlias
from urllib.parse import urlsplit

TargetKind: TypeAlias = Literal["server", "queue", "load-balancer", "pod"]
"""A server of OpenAI's API; an endpoint of RunPod, of either type; a pod of RunPod, a server behind a proxy."""

_HOST_AND_PORT = re.compile(r"^(?:[\w.-]*|\[[0-9a-fA-F:]+\]):\d{1,5}(?:/\S*)?$")
_OF_OPENAI = re.compile(r"/v1(?:/(?:chat/completions|completions|models|responses|messages|embeddings))?$")
_OWN_ROUTES = re.compile(r"/(?:metrics|metrics\.json|health|ping)$")
_QUEUE = re.compile(
    r"^(?P<endpoint>.*/v2/(?P<id>[^/]+))"
    r"(?:/(?:run|runsync|health|purge-queue|openai(?:/.*)?|(?:status|stream|cancel|retry)(?:/.*)?))?$"
)
"""The paths of a queue endpoint, on RunPod's own host or on an emulator's."""

_BALANCED = re.compile(r"^(?P<id>[\w-]+)\.api\.runpod\.ai$")
_POD = re.compile(r"^(?P<id>[a-z0-9]+)-(?P<port>\d+)\.proxy\.runpod\.net$")
_LOOPBACK = re.compile(r"^(?:localhost|127(?:\.\d+){3}|::1)$")


class TargetAddress(NamedTuple):
    """Where a target is.

    url: what stands before the routes of a server, or of a queue endpoint (`…/v2/ID`), without a slash at its end.
    name: for people: host and port, or the endpoint's id.
    runpod_id: the endpoint's or the pod's id at RunPod; empty for a server.
    """

    kind: TargetKind
    url: str
    name: str
    runpod_id: str = ""

    @property
    def host(self) -> str:
        """The host's name, in lower case, without a port."""
        return urlsplit(self.url).hostname or ""

    @property
    def on_loopback(self) -> bool:
        """Whether it is on this machine."""
        return is_loopback(self.url)


def is_loopback(url: str) -> bool:
    """Whether a URL is of this machine."""
    return bool(_LOOPBACK.match(urlsplit(url).hostname or ""))


def is_address(text: str) -> bool:
    """Whether the text is an address rather than a name: it has a scheme of HTTP, or is `host:port`."""
    return text.lower().startswith(("http://", "https://")) or bool(_HOST_AND_PORT.match(text))


def parse(text: str) -> TargetAddress:
    """Read an address, see `is_address`.

    Routes at its end are dropped, since people copy whole URLs: `http://host/v1/chat/completions` is `http://host`, and
    `https://api.runpod.ai/v2/ID/openai/v1` the endpoint `https://api.runpod.ai/v2/ID`.

    Raises:
        ValueError: it has no host, or a port that cannot be one. The text says so.
    """
    text = text.strip()
    if "://" not in text:
        text = f"http://{'127.0.0.1' if text.startswith(':') else ''}{text}"
    parts = urlsplit(text)
    try:
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{text}: the port is no number from 1 to 65535") from error
    if not parts.hostname:
        raise ValueError(f"{text}: there is no host in this address")
    # A user's name and password in an address are not for the screen, nor for a proxy's log.
    netloc = parts.netloc.rpartition("@")[2]
    path = parts.path.rstrip("/")
    host = parts.hostname
    queue = _QUEUE.match(path)
    if queue is not None:
        return TargetAddress("queue", f"{parts.scheme}://{netloc}{queue['endpoint']}", queue["id"], queue["id"])
    path = _OWN_ROUTES.sub("", _OF_OPENAI.sub("", path))
    url = f"{parts.scheme}://{netloc}{path}"
    balanced = _BALANCED.match(host)
    if balanced is not None:
        return TargetAddress("load-balancer", url, balanced["id"], balanced["id"])
    pod = _POD.match(host)
    if pod is not None:
        return TargetAddress("pod", url, pod["id"], pod["id"])
    return TargetAddress("server", url, netloc if port or not path else f"{netloc}{path}")
