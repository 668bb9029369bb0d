"""Noticing that a client has gone while something else is waited for."""

from __future__ import annotations

from engineroom.asgi import Receive


async def disconnected(receive: Receive) -> None:
    """Return once the client has closed its connection. Only after its request was read; cancel it freely."""
    while (await receive())["type"] != "http.disconnect":
        pass
