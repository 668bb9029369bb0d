"""A stand-in for the Hugging Face Hub over a real socket, with the answers and headers that the hub's client reads.

It serves byte ranges, and can break a download off, deal out its bytes slowly, give other bytes than it promised, or
say nothing at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from standin_server import Handler, StandinServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "Gated/Tiny.Model"
FILES = {
    "config.json": b'{"model_type": "tiny"}',
    "model.safetensors": b"not really weights",
    "pytorch_model.bin": b"the same weights once more",
    "tiny-Q4_K_M.gguf": b"GGUF, four bits",
    "tiny-Q8_0.gguf": b"GGUF, eight bits",
}
_LARGE = (".gguf", ".safetensors", ".bin")
_PIECE = 16384


@dataclass
class StandinHub:
    """A running stand-in.

    repositories: name -> file -> its bytes. All files may be changed while it runs.
    token: who sends it may read; everybody where it is empty.
    asked: every request's path and Authorization header, in order.
    ranges: file -> the Range headers with which it was fetched, empty ones included.
    sent: bytes of large files that were sent in all.
    break_after: how many bytes of a large file are sent before the connection is cut; 0 for all. It is counted anew
        with each request.
    piece_delay: seconds between pieces of 16 KiB.
    silent: whether requests are taken and never answered.
    lengths: file -> the size that is claimed for it.
    corrupt: whether large files have one wrong byte.
    """

    url: str = ""
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    token: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    ranges: dict[str, list[str]] = field(default_factory=dict)
    sent: int = 0
    break_after: int = 0
    piece_delay: float = 0
    silent: bool = False
    lengths: dict[str, int] = field(default_factory=dict)
    corrupt: bool = False
    closing: threading.Event = field(default_factory=threading.Event)

    def size(self, name: str, content: bytes) -> int:
        return self.lengths.get(name, len(content))


@contextlib.contextmanager
def standin_hub(token: str = "", repositories: Mapping[str, Mapping[str, bytes]] | None = None) -> Iterator[StandinHub]:
    """Serve on loopback: the repositories given, or one small one."""
    hub = StandinHub(token=token)
    hub.repositories = {name: dict(files) for name, files in (repositories or {REPOSITORY: FILES}).items()}

    class HubHandler(Handler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            authorisation = self.headers.get("Authorization", "")
            hub.asked.append((path, authorisation))
            if hub.silent:
                hub.closing.wait(60)
                self.close_connection = True
                return
            repository = next((name for name in hub.repositories if f"/{name}" in path), None)
            if repository is None:
                self.respond(404 if authorisation else 401, b"{}", {"X-Error-Code": "RepoNotFound"})
            elif hub.token and authorisation != f"Bearer {hub.token}":
                self.respond(401 if not authorisation else 403, b"{}", {"X-Error-Code": "GatedRepo"})
            elif path.startswith("/api/models/"):
                self.describe(repository, path)
            else:
                self.file(repository, path.partition(f"/{repository}/resolve/")[2].partition("/")[2])

        def describe(self, repository: str, path: str) -> None:
            files = hub.repositories[repository]
            _, _, revision = path.partition("/revision/")
            if revision not in ("", "main", COMMIT):
                self.respond(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            elif "/tree/" in path:
                self.respond(200, json.dumps([_entry(hub, name, files[name]) for name in files]).encode())
            else:
                siblings = [_sibling(hub, name, files[name]) for name in files]
                about = {"id": repository, "sha": COMMIT, "siblings": siblings, "private": False}
                self.respond(200, json.dumps(about).encode())

        def file(self, repository: str, name: str) -> None:
            content = hub.repositories[repository].get(name)
            if content is None:
                self.respond(404, b"{}", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
                return
            headers = {"ETag": f'"{_etag(name, content)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
            if self.command == "HEAD" or not name.endswith(_LARGE):
                self.respond(200, content, headers)
                return
            wanted = self.headers.get("Range", "")
            hub.ranges.setdefault(name, []).append(wanted)
            begin = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
            if hub.corrupt:
                content = content[:-1] + bytes([content[-1] ^ 1])
            if begin:
                headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
            self.send_response(206 if begin else 200)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(content) - begin))
            self.end_headers()
            self.send_pieces(content[begin:])

        def send_pieces(self, content: bytes) -> None:
            end = hub.break_after or len(content)
            with contextlib.suppress(OSError):
                for start in range(0, min(end, len(content)), _PIECE):
                    piece = content[start : min(start + _PIECE, end)]
                    self.wfile.write(piece)
                    hub.sent += len(piece)
                    if hub.piece_delay:
                        time.sleep(hub.piece_delay)
            if end < len(content):
                self.close_connection = True

    with StandinServer(HubHandler) as server:
        hub.url = server.url
        try:
            yield hub
        finally:
            hub.closing.set()


def _etag(name: str, content: bytes) -> str:
    """As the hub names a file's content: by its SHA-256 where it is large, else as git does."""
    if name.endswith(_LARGE):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _sibling(hub: StandinHub, name: str, content: bytes) -> dict[str, object]:
    size = hub.size(name, content)
    lfs = {"lfs": {"sha256": _etag(name, content), "size": size, "pointerSize": 134}} if name.endswith(_LARGE) else {}
    return {"rfilename": name, "size": size, "blobId": _etag(name, content), **lfs}


def _entry(hub: StandinHub, name: str, content: bytes) -> dict[str, object]:
    size = hub.size(name, content)
    lfs = {"lfs": {"oid": _etag(name, content), "size": size, "pointerSize": 134}} if name.endswith(_LARGE) else {}
    return {"type": "file", "path": name, "size": size, "oid": _etag(name, content), **lfs}
