"""A stand-in for somebody else's OpenAI-compatible server: one model, under any path; it answers where it was asked."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class StandinOpenAI:
    """Serves `model` under `root` (`/v1`) while the block lasts; anything elsewhere is a 404."""

    def __init__(self, root: str, model: str) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                listed = {"id": model, "object": "model", "created": 1686935002, "owned_by": "library"}
                self._send(200 if self.path == f"{root}/models" else 404, {"object": "list", "data": [listed]})

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                message = {"role": "assistant", "content": f"POST {self.path}"}
                choice = {"index": 0, "message": message, "finish_reason": "stop"}
                known = self.path.startswith(f"{root}/") and asked["model"] == model
                self._send(200 if known else 404, {"model": asked["model"], "choices": [choice]})

            def _send(self, status: int, body: dict[str, Any]) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> StandinOpenAI:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
