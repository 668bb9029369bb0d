"""A raw source of server-sent events: no model, no framework, as little CPU as Python allows.

It stands where an engine's server would, so that what a proxy costs can be measured by itself.

    python source.py PORT | PATH-OF-A-UNIX-SOCKET

POST /v1/chat/completions streams `max_tokens` events at `rate` a second, the first after `first_ms` (fields of the
body), one event a token, on an absolute schedule, and at the end `usage` where that is asked for. GET answers 200, and
`/v1/models` with a model's name.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import cast

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
HEALTHY = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
MODELS = b'{"object":"list","data":[{"id":"source","object":"model"}]}'
MODELS = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(MODELS), MODELS)
EVENT = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"source",'
    b'"choices":[{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null}]}\n\n'
)
CHUNK = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)
USAGE = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"source","choices":[],'
    b'"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}}\n\n'
)
RATE = 50
"""Events a second where a request asks for no other rate."""
END = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


class Source(asyncio.Protocol):
    """One connection, kept alive."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.buffer = b""
        self.timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        if not head.startswith(b"POST"):
            self.buffer = body
            self.transport.write(MODELS if b"/models" in head else HEALTHY)
            return
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        if len(body) < length:
            return
        self.buffer = body[length:]
        request = json.loads(body[:length])
        self.rate = float(request.get("rate", RATE))
        self.left = int(request.get("max_tokens") or request["max_completion_tokens"])
        self.usage = b""
        if (request.get("stream_options") or {}).get("include_usage"):
            words = body[:length].count(b" ")
            usage = USAGE % (words, self.left, words + self.left)
            self.usage = b"%x\r\n%s\r\n" % (len(usage), usage)
        self.transport.write(HEAD)
        loop = asyncio.get_running_loop()
        self.started = loop.time() + float(request.get("first_ms", 0)) / 1000
        self.sent = 0
        if self.started > loop.time():
            self.timer = loop.call_at(self.started, self.tick)
        else:
            self.tick()

    def tick(self) -> None:
        loop = asyncio.get_running_loop()
        due = min(self.left, int((loop.time() - self.started) * self.rate) + 1) - self.sent
        if due > 0:
            self.sent += due
            self.transport.write(CHUNK * due)
        if self.sent >= self.left:
            self.transport.write(self.usage + END)
            return
        self.timer = loop.call_at(self.started + self.sent / self.rate, self.tick)

    def connection_lost(self, error: Exception | None) -> None:
        if self.timer is not None:
            self.timer.cancel()


async def main(where: str) -> None:
    loop = asyncio.get_running_loop()
    if where.isdigit():
        server = await loop.create_server(Source, "127.0.0.1", int(where), backlog=1024)
    else:
        server = await loop.create_unix_server(Source, where, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(sys.argv[1]))
