"""What the stand-ins for other people's HTTP servers share: whole answers, and a server for the length of a block."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from typing_extensions import Self


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def asked(self) -> dict[str, Any]:
        """The request's body."""
        return dict(json.loads(self.rfile.read(int(self.headers["content-length"]))))

    def answer(self, status: int, body: dict[str, Any]) -> None:
        self.respond(status, json.dumps(body).encode())

    def respond(self, status: int, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send a whole response, of JSON where the headers say nothing else; a HEAD gets no body."""
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


class StandinServer:
    """Listens while the block lasts. url: where."""

    def __init__(self, handler: type[Handler]) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
