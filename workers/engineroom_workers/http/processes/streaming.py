"""A door process's side of a stream that it fetches from the engine's server by itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable

import msgspec

from engineroom.asgi import Message, Scope, Send, header
from engineroom.errors import APIError
from engineroom.openai.body import Request, with_request
from engineroom.openai.usage import TokenUsage, count_events, get_usage
from engineroom.server import JoinedEngine, join_engine

from .api_errors import fields_of
from .frames import (
    EngineError,
    FrameConnection,
    Go,
    SharedEngine,
    StreamEnded,
    StreamProgress,
    StreamStarted,
    UnknownEngine,
    WholeAnswer,
)

logger = logging.getLogger(__name__)

_PROGRESS_S = 0.1
"""How often the main process learns what has gone by: as often as its own counters look."""
_MAX_ENGINES = 4
"""Engines that are kept: the one that runs, and those that died a moment ago."""


class JoinedEngines:
    """The engines whose servers this process can ask, by the numbers that the main process gave them."""

    def __init__(self) -> None:
        self._engines: dict[int, JoinedEngine] = {}

    def get(self, number: int) -> JoinedEngine | None:
        """An engine; None where this process has not joined it."""
        return self._engines.get(number)

    async def join(self, shared: SharedEngine) -> None:
        """Join an engine, unless that has been done already."""
        if shared.number in self._engines:
            return
        self._engines[shared.number] = join_engine(shared.description)
        while len(self._engines) > _MAX_ENGINES:
            await self._engines.pop(min(self._engines)).close()

    async def close(self) -> None:
        """Close the connections to their servers."""
        for engine in self._engines.values():
            await engine.close()


class EngineStream:
    """One request to an engine's server, whose event stream goes to the client from here.

    leave_given: set once the client has the response's beginning.
    """

    def __init__(self, go: Go, engines: JoinedEngines, connection: FrameConnection, send: Send) -> None:
        self.leave_given = asyncio.Event()
        self._go = go
        self._engines = engines
        self._connection = connection
        self._send = send
        self._usage = TokenUsage()
        self._task: asyncio.Task[None] | None = None
        self._flowing = False
        self._pieces: list[tuple[float, int]] = []
        self._next_progress = 0.0
        self._between_events = True
        self._whole: Message | None = None
        self._body = bytearray()

    def start(self) -> None:
        """Send the request."""
        self._task = asyncio.ensure_future(self._run())

    def cancel(self) -> None:
        """End it; `stop` waits for that."""
        if self._task is not None:
            self._task.cancel()

    async def stop(self) -> None:
        """End it. Nothing goes to the client afterwards."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def may_interject(self, part: bytes) -> bool:
        """Whether something that is not the engine's may go to the client now: a comment only between two events."""
        return self._between_events or not part.startswith(b":")

    async def _run(self) -> None:
        engine = self._engines.get(self._go.number)
        if engine is None:
            self._connection.write(UnknownEngine())
            return
        try:
            await engine.app(self._scope(), _wait_for_ever, self._take)
        except APIError as error:
            self._report()
            self._connection.write(EngineError(fields_of(error)))
        except Exception:
            logger.exception("%s %s failed", self._go.method, self._go.path)
            failed = APIError("The server had an error while processing your request.", status=500)
            self._connection.write(EngineError(fields_of(failed)))

    def _scope(self) -> Scope:
        go = self._go
        scope: Scope = {
            "type": "http",
            "method": go.method,
            "path": go.path,
            "query_string": go.query_string,
            "headers": go.headers,
        }
        if go.counted:
            self._usage = get_usage(scope)
        return with_request(scope, Request(go.body, msgspec.json.decode(go.body)))

    def _take(self, message: Message) -> Awaitable[None]:
        """Take a message from the engine. It is on the path of every token, and no coroutine: that is cheaper."""
        if not self._flowing:
            return self._begin(message)
        body = message.get("body", b"")
        more = message.get("more_body", False)
        now = time.perf_counter()
        events = count_events(body)
        if events:
            self._pieces.append((now, events))
        if body:
            self._between_events = body.endswith((b"\n\n", b"\n\r\n"))
        if not more:
            return self._finish(body)
        if now >= self._next_progress:
            self._next_progress = now + _PROGRESS_S
            self._report()
        return self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def _begin(self, message: Message) -> None:
        """Take the beginning of a response; an event stream's goes through the main process."""
        if message["type"] == "http.response.start":
            kind = header(message, b"content-type") or b""
            if message["status"] != 200 or not kind.startswith(b"text/event-stream"):
                self._whole = message
                return
            self._connection.write(StreamStarted(message["status"], list(message["headers"])))
            await self.leave_given.wait()
            self._flowing = True
        elif self._whole is not None:
            self._body += message.get("body", b"")
            if not message.get("more_body"):
                usage = self._usage
                self._connection.write(
                    WholeAnswer(
                        self._whole["status"],
                        list(self._whole["headers"]),
                        bytes(self._body),
                        usage.prompt_tokens,
                        usage.completion_tokens,
                    )
                )

    async def _finish(self, body: bytes) -> None:
        if body:
            await self._send({"type": "http.response.body", "body": body, "more_body": True})
        self._report()
        self._connection.write(StreamEnded())

    def _report(self) -> None:
        """Tell the main process what has gone to the client."""
        usage = self._usage
        usage.catch_up()
        self._connection.write(StreamProgress(self._pieces, usage.prompt_tokens, usage.completion_tokens))
        self._pieces = []


async def _wait_for_ever() -> Message:
    """Whether the client is there is for the main process to say, which stops the request."""
    never: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    return await never
