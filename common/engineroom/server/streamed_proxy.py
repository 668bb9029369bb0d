"""A proxy that gets streams only from its server, and responds with what the client wants.

For servers whose path without streaming is broken, or that notice only amid a stream that a client has gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..asgi.types import Scope, Send
from ..http_client.response import RelayableResponse
from ..openai.body import Request
from ..openai.event_stream import ResponseWriter, decode_event, read_events
from .proxy import Proxy


class StreamRewriter:
    """What the events of one stream become on their way to the client; by default they stay as they are.

    at_once: whether events can be made only once all the server's are there (`finish` makes them then).
    """

    at_once = False

    def concerns(self, data: bytes) -> bool:
        """Whether `rewrite` has to see an event, told from its bytes: most need not be decoded."""
        return False

    def rewrite(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """The event to send instead; None for none. It may be changed in place."""
        return event

    def last_event(self) -> dict[str, Any] | None:
        """An event to send behind the server's last one, before `[DONE]`."""
        return None

    def finish(self, response: dict[str, Any]) -> None:
        """Change the response in place, where it is put together: the client wants it whole, or `at_once` says so."""


class StreamedProxy(Proxy):
    """Puts streams together for clients that want a whole response. `prepare` of the engine asks for the stream."""

    def make_rewriter(self, path: str, json: Mapping[str, Any]) -> StreamRewriter | None:
        """What rewrites one response; None where a client that streams gets the server's bytes as they are.

        Args:
            json: the request as the client sent it.
        """
        return None

    async def answer(self, scope: Scope, request: Request, response: RelayableResponse, send: Send) -> None:
        path = scope["path"]
        json = request.json
        if response.status >= 400 or json is None or response.content_type != "text/event-stream":
            await super().answer(scope, request, response, send)
            return
        rewriter = self.make_rewriter(path, json)
        if rewriter is None:
            if json.get("stream"):
                await self.stream(scope, response, "text/event-stream", send)
                return
            rewriter = StreamRewriter()
        writer = ResponseWriter(path, json, send, at_once=rewriter.at_once, finish=rewriter.finish)
        async for batch in read_events(response.pieces(), path, self._engine.normalise_error):
            await writer.write(_rewritten(batch, rewriter))
        last = rewriter.last_event()
        await writer.write([] if last is None else [last])
        await writer.close()


def _rewritten(batch: list[bytes], rewriter: StreamRewriter) -> list[bytes | Mapping[str, Any]]:
    events: list[bytes | Mapping[str, Any]] = []
    for data in batch:
        if not rewriter.concerns(data):
            events.append(data)
            continue
        event = rewriter.rewrite(decode_event(data))
        if event is not None:
            events.append(event)
    return events
