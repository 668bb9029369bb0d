"""A stand-in for the Hugging Face Hub: one small gated repository, with the headers that the hub's client reads."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "Gated/Tiny.Model"
FILES = {
    "config.json": b'{"model_type": "tiny"}',
    "model.safetensors": b"not really weights",
    "pytorch_model.bin": b"the same weights once more",
    "tiny-Q4_K_M.gguf": b"GGUF, four bits",
    "tiny-Q8_0.gguf": b"GGUF, eight bits",
}


class StandinHub(NamedTuple):
    """asked: every request's path and Authorization header, in order."""

    url: str
    asked: list[tuple[str, str]]


@contextlib.contextmanager
def standin_hub(token: str) -> Iterator[StandinHub]:
    """Serve it on loopback; only whoever sends `token` may read the repository."""
    asked: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            authorisation = self.headers.get("Authorization", "")
            asked.append((path, authorisation))
            if REPOSITORY not in path:
                self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            elif authorisation != f"Bearer {token}":
                self.answer(401 if not authorisation else 403, b"{}", {"X-Error-Code": "GatedRepo"})
            elif path.startswith(f"/api/models/{REPOSITORY}/tree/"):
                tree = [{"type": "file", "path": n, "size": len(c), "oid": "0" * 40} for n, c in FILES.items()]
                self.answer(200, json.dumps(tree).encode())
            elif path.startswith("/api/models/"):
                siblings = [{"rfilename": name} for name in FILES]
                info = {"id": REPOSITORY, "sha": COMMIT, "siblings": siblings, "gated": "manual", "private": False}
                self.answer(200, json.dumps(info).encode())
            else:
                content = FILES[path.rpartition("/")[2]]
                self.answer(200, content, {"ETag": f'"{hash(content) & 0xFFFFFFFF:x}"', "X-Repo-Commit": COMMIT})

        def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: what was asked is in `asked`."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield StandinHub(f"http://127.0.0.1:{server.server_port}", asked)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
