"""A load-balancing endpoint: health, worker affinity, and streams that pass as they come."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx
import pytest
import uvicorn

from engineroom.asgi import ASGIApp, Receive, Scope, Send, send_body
from engineroom_workers.emulator.load_balancer import Affinity, BalancedWorker, LoadBalancer
from engineroom_workers.emulator.server import listen

HEADER = "X-Runpod-Worker-Id"


@dataclass
class StandInWorker:
    """A stand-in for a worker: it says who it is, and how well."""

    id: str
    ping: int = 200
    seen: list[str] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/ping":
            await send_body(send, self.ping, b"", b"text/plain")
            return
        body = (await receive()).get("body", b"")
        self.seen.append(f"{scope['method']} {scope['path']}?{scope['query_string'].decode()} {body.decode()}")
        await send({"type": "http.response.start", "status": 201, "headers": [(b"x-own", self.id.encode())]})
        await send({"type": "http.response.body", "body": b"first,", "more_body": True})
        await send({"type": "http.response.body", "body": b"last"})


@contextlib.asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    task = asyncio.ensure_future(server.serve(sockets=[listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        await asyncio.wait_for(task, 60)


@dataclass
class Endpoint:
    balancer: LoadBalancer
    client: httpx.AsyncClient
    a: StandInWorker
    b: StandInWorker

    async def healthy(self, count: int) -> None:
        for _ in range(3000):
            if sum(worker.healthy for worker in self.balancer.workers.values()) == count:
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"not {count} healthy workers")


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    """Two workers behind a load balancer, both healthy."""
    a, b = StandInWorker("a"), StandInWorker("b")
    balancer = LoadBalancer(wait=0.3, strict_wait=0.3)
    async with served(a) as url_a, served(b) as url_b, served(balancer) as url:
        for worker, address in ((a, url_a), (b, url_b)):
            balancer.add(BalancedWorker(worker.id, address, f"{address}/ping"))
        watching = asyncio.ensure_future(balancer.watch())
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            running = Endpoint(balancer, client, a, b)
            await running.healthy(2)
            yield running
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def test_requests_and_answers_pass_as_they_are(endpoint: Endpoint) -> None:
    answer = await endpoint.client.post("/any/path?x=1", content=b"body", headers={HEADER: "b"})
    assert (answer.status_code, answer.content) == (201, b"first,last")
    assert (answer.headers[HEADER], answer.headers["x-own"]) == ("b", "b")
    assert endpoint.b.seen == ["POST /any/path?x=1 body"]


async def test_soft_affinity_falls_back(endpoint: Endpoint) -> None:
    endpoint.b.ping = 500
    await endpoint.healthy(1)
    for wanted in ("b", "gone", ""):
        assert (await endpoint.client.get("/", headers={HEADER: wanted})).headers[HEADER] == "a"


@pytest.mark.parametrize("mode", ["strict", "strict-resume"])
async def test_strict_affinity_does_not(endpoint: Endpoint, mode: str) -> None:
    for wanted in ("a", "b", "a"):
        assert (await endpoint.client.get("/", headers={HEADER: f"{mode} {wanted}"})).headers[HEADER] == wanted
    endpoint.b.ping = 204
    await endpoint.healthy(1)
    waited = await endpoint.client.get("/", headers={HEADER: f"{mode} b"})
    assert (waited.status_code, waited.json()) == (400, {"error": "worker_timeout"})
    endpoint.balancer.remove("b")
    gone = await endpoint.client.get("/", headers={HEADER: f"{mode} b"})
    assert (gone.status_code, gone.json()) == (404, {"error": "affinity_worker_gone"})


async def test_without_a_healthy_worker(endpoint: Endpoint) -> None:
    endpoint.a.ping = endpoint.b.ping = 503
    await endpoint.healthy(0)
    answer = await endpoint.client.get("/")
    assert (answer.status_code, answer.json()) == (400, {"error": "no workers available"})


async def test_a_wrong_port(endpoint: Endpoint) -> None:
    endpoint.balancer.workers["a"].url = "http://127.0.0.1:9"
    answer = await endpoint.client.get("/", headers={HEADER: "strict a"})
    assert answer.status_code == 502


def test_affinity() -> None:
    assert Affinity.parse(None) is None
    assert Affinity.parse(b"  ") is None
    assert Affinity.parse(b"x1") == Affinity("x1", strict=False)
    assert Affinity.parse(b"strict x1") == Affinity.parse(b"strict-resume x1") == Affinity("x1", strict=True)
