"""What stands between Serve and the door's layers, without Ray: an app that is called as Serve calls it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from engineroom.asgi import Message, Receive, Scope, Send, send_body
from engineroom_workers.http.middleware.base import ErrorMiddleware
from engineroom_workers.http.protocol import RequestMemory
from engineroom_workers.ray.arrival import Arrival
from engineroom_workers.ray.asgi import ReplicaApp


class _Layer(ErrorMiddleware):
    """The outermost layer, as far as it matters here: an error becomes its response."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        await send_body(send, 200, body, b"text/plain", [(b"x-request-id", b"ours")])


async def nothing() -> None:
    """What is done at the end of a replica that has nothing."""


def scope(path: str = "/v1/models", **more: Any) -> Scope:
    of_http = {"type": "http", "method": "POST", "path": path, "headers": [], "client": ("127.0.0.1", 1)}
    return {**of_http, **more}


async def called(app: Any, request: Scope, *bodies: bytes, pause: float = 0) -> list[Message]:
    """The messages that the app sends to a request whose body comes in these pieces, the last of them late."""
    pieces = list(bodies) or [b""]
    sent: list[Message] = []

    async def receive() -> Message:
        if len(pieces) == 1 and pause:
            await asyncio.sleep(pause)
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(request, receive, send)
    return sent


def status_and_code(sent: list[Message]) -> tuple[int, str]:
    return sent[0]["status"], json.loads(sent[1]["body"])["error"]["code"]


async def test_an_application_s_prefix_is_no_part_of_the_path() -> None:
    layer = _Layer()
    app = ReplicaApp(layer, local=True, close=nothing)
    await called(app, scope("/large/v1/models", root_path="/large"))
    await called(app, scope("/v1/models", root_path=""))
    await called(app, scope("/v1/models", root_path="/large"))
    assert [seen["path"] for seen in layer.scopes] == ["/v1/models"] * 3
    assert [seen["root_path"] for seen in layer.scopes][:2] == ["", ""]


@pytest.mark.parametrize("local", [True, False])
async def test_a_proxy_s_address_is_nobody_s(local: bool) -> None:
    layer = _Layer()
    await called(ReplicaApp(layer, local, nothing), scope())
    assert layer.scopes[0]["client"] == (("127.0.0.1", 1) if local else None)


async def test_a_response_has_the_request_id_of_serve_alone() -> None:
    sent = await called(ReplicaApp(_Layer(), local=True, close=nothing), scope(), b"x")
    assert b"x-request-id" not in dict(sent[0]["headers"])


async def test_another_loop_than_the_engine_s_is_refused() -> None:
    app = ReplicaApp(_Layer(), local=True, close=nothing)
    with pytest.raises(RuntimeError, match="another loop"):
        await asyncio.to_thread(asyncio.run, called(app, scope()))


async def test_a_drain_by_hand_is_refused_and_a_websocket_closed() -> None:
    app = ReplicaApp(_Layer(), local=True, close=nothing)
    assert status_and_code(await called(app, scope("/drain"))) == (404, "serve_drains")
    assert [message["type"] for message in await called(app, scope(type="websocket"))] == ["websocket.close"]


async def test_a_replica_closes_when_serve_ends_it() -> None:
    closed: list[str] = []

    async def close() -> None:
        closed.append("closed")

    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[str] = []

    async def receive() -> Message:
        assert not closed
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message["type"])

    await ReplicaApp(_Layer(), local=True, close=close)({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert closed == ["closed"]


async def test_a_body_has_its_time_and_its_memory() -> None:
    memory = RequestMemory(1_000_000)
    arrival = Arrival(_Layer(), memory, timeout=0.1)
    assert (await called(arrival, scope(), b"a", b"b"))[1]["body"] == b"ab"
    assert status_and_code(await called(arrival, scope(), b"a", b"b", pause=5)) == (408, "request_timeout")
    assert status_and_code(await called(arrival, scope(), b"x" * 600_000)) == (413, "request_too_large")
    memory.held = 900_000
    assert status_and_code(await called(arrival, scope(), b"x" * 200_000)) == (503, "server_busy")
    assert memory.held == 900_000, "what a request held is given back"


async def test_a_body_comes_in_not_too_many_pieces() -> None:
    arrival = Arrival(_Layer(), RequestMemory(1_000_000), timeout=60)
    assert (await called(arrival, scope(), *[b"x"] * 10_000))[1]["body"] == b"x" * 10_000
    assert status_and_code(await called(arrival, scope(), *[b"x"] * 10_001)) == (400, "invalid_http")
