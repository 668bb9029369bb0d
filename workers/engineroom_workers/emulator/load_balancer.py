"""A load-balancing endpoint: requests go straight to a healthy worker, or to the one that the client has had before."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import time
from collections.abc import Iterator
from dataclasses import dataclass

import aiohttp

from engineroom.asgi import ClientDisconnected, Receive, Scope, Send, header, race
from engineroom.timeouts import timeout

from .http import BodyTooLarge, read_body, send_error
from .limits import MB
from .notifications import Notification
from .reverse_proxy import WORKER_ID, UpstreamFailed, pass_on

MAX_BODY = 30 * MB
"""Largest body of a request (RunPod's documentation, which says the same of responses)."""
_LOOK_S = 0.25
"""Seconds between two looks at a worker's health."""


@dataclass(slots=True)
class BalancedWorker:
    """A worker, which is an HTTP server.

    url: `http://host:port`.
    health_url: answers 200 if it is healthy, 204 as long as it is not yet; anything else takes it out of the pool.
    running: the requests that it has.
    answered: whether it has answered a look at its health yet.
    initializing: whether it answered the last one with 204, or none yet.
    leaving: it gets no more requests.
    """

    id: str
    url: str
    health_url: str
    healthy: bool = False
    running: int = 0
    answered: bool = False
    initializing: bool = True
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class Affinity:
    """Which worker a request wants, and whether no other will do."""

    worker_id: str
    strict: bool

    @classmethod
    def parse(cls, value: bytes | None) -> Affinity | None:
        """Read `ID`, `strict ID` or `strict-resume ID`; None where nobody is wanted."""
        mode, _, worker_id = (value or b"").decode("latin-1").strip().rpartition(" ")
        return cls(worker_id, mode in ("strict", "strict-resume")) if worker_id else None


class LoadBalancer:
    """The endpoint as its clients see it, as one ASGI app; run `watch` beside it.

    Args:
        api_key: the key that clients must send; with None any client is served.
        wait: seconds for which a request waits for a worker.
        strict_wait: likewise for the one worker that it wants.
        timeout: seconds that a worker has for a request.
        prefix: what the path begins with here and not at a worker.
    """

    def __init__(
        self,
        api_key: str | None = None,
        wait: float = 120.0,
        strict_wait: float = 300.0,
        timeout: float = 330.0,
        prefix: str = "",
    ) -> None:
        self.workers: dict[str, BalancedWorker] = {}
        self._api_key = api_key
        self._prefix = prefix
        self._wait = wait
        self._strict_wait = strict_wait
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=10)
        self._changed = Notification()
        self._closed = False
        self.waiting: dict[object, float] = {}
        """When each request began to wait that waits for a worker (`time.monotonic`)."""

    def add(self, worker: BalancedWorker) -> None:
        """Take a worker into the pool; it gets requests once it is healthy."""
        self.workers[worker.id] = worker

    def remove(self, worker_id: str) -> None:
        """Forget a worker that is gone."""
        self.workers.pop(worker_id, None)
        self._changed.notify_all()

    def close(self) -> None:
        """Refuse the requests that wait for a worker, and all that follow."""
        self._closed = True
        self._changed.notify_all()

    async def watch(self) -> None:
        """Look after all workers' health, until this is cancelled."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            while True:
                # One that leaves may be frozen, and would keep the others waiting.
                looked_after = [worker for worker in self.workers.values() if not worker.leaving]
                await asyncio.gather(*(self._look(session, worker) for worker in looked_after))
                await asyncio.sleep(_LOOK_S)

    async def _look(self, session: aiohttp.ClientSession, worker: BalancedWorker) -> None:
        try:
            async with session.get(worker.health_url) as response:
                worker.healthy = response.status == 200
                worker.initializing = response.status == 204
                worker.answered = True
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
            worker.healthy = False
            worker.initializing = not worker.answered
        self._changed.notify_all()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if not self._authorized(scope):
            await send_error(send, 401, "the API key is missing or wrong")
            return
        try:
            body = await read_body(scope, receive, MAX_BODY)
            affinity = Affinity.parse(header(scope, WORKER_ID))
            worker = await race(self._wait_for_worker(affinity), receive)
            if isinstance(worker, BalancedWorker):
                with self._counted(worker):
                    await race(self._pass_on(worker, scope, body, send), receive)
            else:
                await send_error(send, *worker)
        except BodyTooLarge:
            await send_error(send, 413, f"the body has more than {MAX_BODY} bytes")
        except ClientDisconnected:
            return

    async def _wait_for_worker(self, affinity: Affinity | None) -> BalancedWorker | tuple[int, str]:
        request = object()
        self.waiting[request] = time.monotonic()
        try:
            return await self._choose(affinity)
        finally:
            del self.waiting[request]

    async def _choose(self, affinity: Affinity | None) -> BalancedWorker | tuple[int, str]:
        """The worker for a request, or the status and the reason why there is none."""
        wanted = affinity.worker_id if affinity is not None else None
        strict = affinity is not None and affinity.strict
        deadline = time.monotonic() + (self._strict_wait if strict else self._wait)
        while True:
            if self._closed:
                return 404, "the endpoint is deleted"
            if strict and wanted not in self.workers:
                return 404, "affinity_worker_gone"
            healthy = [worker for worker in self.workers.values() if worker.healthy and not worker.leaving]
            preferred = [worker for worker in healthy if worker.id == wanted]
            candidates = preferred if strict else preferred or healthy
            if candidates:
                return min(candidates, key=lambda worker: worker.running)
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return (400, "worker_timeout") if strict else (400, "no workers available")
            with contextlib.suppress(asyncio.TimeoutError):
                async with timeout(remaining):
                    await self._changed.wait()

    async def _pass_on(self, worker: BalancedWorker, scope: Scope, body: bytes, send: Send) -> None:
        """Send the request to the worker, and its response back as it comes."""
        path = scope["raw_path"].decode("latin-1").removeprefix(self._prefix)
        try:
            await pass_on(worker.url + path, scope, body, send, self._timeout, [(WORKER_ID, worker.id.encode())])
        except UpstreamFailed as failure:
            await send_error(send, 502, f"the worker {worker.id} did not answer: {failure}")

    def _authorized(self, scope: Scope) -> bool:
        if self._api_key is None:
            return True
        sent = (header(scope, b"authorization") or b"").removeprefix(b"Bearer ")
        return hmac.compare_digest(sent.strip(), self._api_key.encode())

    @contextlib.contextmanager
    def _counted(self, worker: BalancedWorker) -> Iterator[None]:
        worker.running += 1
        try:
            yield
        finally:
            worker.running -= 1
