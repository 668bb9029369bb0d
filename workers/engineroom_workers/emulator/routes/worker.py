"""The routes that a worker's SDK speaks to. Plain ASGI: a busy worker sends thousands of POSTs a second."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl

import msgspec

from engineroom.asgi import ClientDisconnected, Receive, Scope, Send, race, send_body

from ..bell import Bell
from ..http import BodyTooLarge, ClientGone, read_body, send_error, send_json, send_nothing
from ..jobs import Chunk, Job, Result
from ..platform import MAX_CHUNK, MAX_RESULT, Emulator

logger = logging.getLogger(__name__)

Handler = Callable[[Scope, Receive, Send, list[str]], Awaitable[None]]


class WorkerSide:
    """`job-take[-batch]/<worker>`, `job-stream|job-done/<worker>/<job>`, `job-stop/<worker>`, `ping/<worker>`."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.routes: dict[tuple[str, str, int], Handler] = {
            ("GET", "job-take", 1): self.take_one,
            ("GET", "job-take-batch", 1): self.take_batch,
            ("GET", "job-stop", 1): self.stop,
            ("GET", "ping", 1): self.ping,
            ("POST", "job-stream", 2): self.stream,
            ("POST", "job-done", 2): self.done,
        }
        self._chunk = msgspec.json.Decoder(Chunk)
        self._result = msgspec.json.Decoder(Result)

    def find(self, method: str, path: list[str]) -> Handler | None:
        """The handler of `[route, worker, ...]`, the part of the path that follows the endpoint's id."""
        return self.routes.get((method, path[0], len(path) - 1))

    async def take_one(self, scope: Scope, receive: Receive, send: Send, path: list[str]) -> None:
        await self._take(receive, send, path[1], 1, batch=False)

    async def take_batch(self, scope: Scope, receive: Receive, send: Send, path: list[str]) -> None:
        size = query(scope).get("batch_size", "1")
        if not size.isdecimal() or int(size) < 1:
            await send_error(send, 400, "batch_size must be a positive number")
            return
        await self._take(receive, send, path[1], int(size), batch=True)

    async def _take(self, receive: Receive, send: Send, worker_id: str, most: int, *, batch: bool) -> None:
        emulator = self.emulator
        # One that is about to be replaced waits for what never comes.
        bell = Bell() if emulator.fleet.polled(worker_id).stopping else emulator.queued
        for fault, status in (("take_429", 429), ("fail_take", 500), ("take_400", 400)):
            if emulator.faults.strikes(fault):
                await send_error(send, status, f"injected: {fault}")
                return
        woken = await self._hold(receive, bell, lambda: bool(emulator.queue) and bell is emulator.queued)
        worker = emulator.fleet.known(worker_id)
        handed = [job.for_worker() for job in emulator.take(worker, most)] if woken and not worker.stopping else []
        if woken and emulator.queue:
            emulator.queued.ring_one()
        if handed:
            await send_json(send, 200, handed if batch else handed[0])
        else:
            await send_nothing(send)

    async def stop(self, scope: Scope, receive: Receive, send: Send, path: list[str]) -> None:
        worker = self.emulator.fleet.known(path[1])
        if not await self._hold(receive, worker.stop_bell, lambda: bool(worker.stops)):
            await send_nothing(send)
            return
        stops, worker.stops = worker.stops, []
        await send_json(send, 200, {"jobsToStop": stops})

    async def _hold(self, receive: Receive, bell: Bell, ready: Callable[[], bool]) -> bool:
        """Keep a poll open until something is ready; false when time is up or the worker has hung up."""
        if ready():
            return True
        try:
            return await race(self._wait_until(bell, ready), receive, self.emulator.options.hold)
        except (ClientDisconnected, asyncio.TimeoutError):
            return False

    async def _wait_until(self, bell: Bell, ready: Callable[[], bool]) -> bool:
        """Wait for something to be ready, which the bell announces; false if the emulator closes before."""
        while not ready():
            if self.emulator.closed:
                return False
            await bell.wait()
        return True

    async def ping(self, scope: Scope, receive: Receive, send: Send, path: list[str]) -> None:
        self.emulator.fleet.pinged(path[1], query(scope))
        await send_json(send, 200, {})

    async def stream(self, scope: Scope, receive: Receive, send: Send, path: list[str]) -> None:
        received = await self._receive(scope, receive, send, path, MAX_CHUNK, "fail_stream")
        if received is None:
            return
        job, body = received
        try:
            chunk = self._chunk.decode(body)
        except msgspec.MsgspecError as error:
            await self._refuse(send, job, f"not a chunk: {error}")
            return
        job.posts["stream"] += 1
        job.bytes += len(body)
        self.emulator.receive_chunk(job, chunk.output)
        await send_body(send, 200, b"", b"text/plain")

    async def done(self, scope: Scope, receive: Receive, send: Send, path: list[str]) -> None:
        received = await self._receive(scope, receive, send, path, MAX_RESULT, "fail_done")
        if received is None:
            return
        job, body = received
        try:
            result = self._result.decode(body)
        except msgspec.MsgspecError as error:
            await self._refuse(send, job, f"not a result: {error}")
            return
        job.posts["done"] += result.status != "IN_PROGRESS"
        job.bytes += len(body)
        self.emulator.receive_result(job, result)
        if result.stop_pod:
            self.emulator.on_stop_pod(path[1])
        await send_body(send, 200, b"", b"text/plain")

    async def _receive(
        self, scope: Scope, receive: Receive, send: Send, path: list[str], most: int, fault: str
    ) -> tuple[Job, bytes] | None:
        """A POST's job and body after the injected round trip; None when it has been answered already."""
        emulator = self.emulator
        job = emulator.find(path[2])
        try:
            body = await read_body(scope, receive, most)
        except ClientGone:
            return None
        except BodyTooLarge:
            await self._refuse(send, job, f"the body has more than {most} bytes")
            return None
        if rtt_ms := emulator.faults.rtt_ms:
            await asyncio.sleep(rtt_ms / 1000)
        if job is None:
            await send_error(send, 404, "no such job")
            return None
        if emulator.faults.strikes(fault):
            job.posts["refused"] += 1
            await send_error(send, 500, f"injected: {fault}")
            return None
        return job, body

    async def _refuse(self, send: Send, job: Job | None, message: str) -> None:
        if job is not None:
            job.posts["refused"] += 1
            logger.warning("refused what the worker sent for job %s: %s", job.id, message)
        await send_error(send, 400, message)


def query(scope: Scope) -> dict[str, str]:
    """The query string's values by name."""
    return dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
