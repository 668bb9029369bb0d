"""A raw source of server-sent events: no model, no framework, as little CPU as Python allows.

It stands where an engine's server would, so that what a proxy costs can be measured by itself.

    python source.py PORT | PATH-OF-A-UNIX-SOCKET

POST /v1/chat/completions streams `max_tokens` events at `rate` a second (both fields of the body), one event a
token, on an absolute schedule; GET /health answers 200.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import cast

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
HEALTHY = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
EVENT = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"source",'
    b'"choices":[{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null}]}\n\n'
)
CHUNK = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)
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
        if head.startswith(b"GET"):
            self.buffer = body
            self.transport.write(HEALTHY)
            return
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        if len(body) < length:
            return
        self.buffer = body[length:]
        request = json.loads(body[:length])
        self.rate, self.left = float(request.get("rate", 50)), int(request["max_tokens"])
        self.transport.write(HEAD)
        self.started, self.sent = asyncio.get_running_loop().time(), 0
        self.tick()

    def tick(self) -> None:
        loop = asyncio.get_running_loop()
        due = min(self.left, int((loop.time() - self.started) * self.rate) + 1) - self.sent
        if due > 0:
            self.sent += due
            self.transport.write(CHUNK * due)
        if self.sent >= self.left:
            self.transport.write(END)
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
