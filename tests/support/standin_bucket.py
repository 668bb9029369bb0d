"""A stand-in for an S3 store over a real socket: it lists and reads objects, as boto3 asks for them.

It checks no signature.

The API: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html and `GetObject`.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


@dataclass
class StandinBucket:
    """A running stand-in.

    objects: `bucket/key` -> bytes; may be changed while it runs.
    refuses: whether everybody is denied.
    asked: paths of the requests, in order.
    """

    url: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    refuses: bool = False
    asked: list[str] = field(default_factory=list)

    @property
    def environ(self) -> dict[str, str]:
        """What boto3 reads."""
        return {"AWS_ENDPOINT_URL": self.url, "AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "none"}


@contextlib.contextmanager
def standin_bucket(objects: dict[str, bytes]) -> Iterator[StandinBucket]:
    store = StandinBucket(objects=dict(objects))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            path = unquote(url.path).lstrip("/")
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            store.asked.append(path)
            bucket = path.partition("/")[0]
            if store.refuses:
                self.fail(403, "AccessDenied")
            elif not any(name.startswith(f"{bucket}/") for name in store.objects):
                self.fail(404, "NoSuchBucket")
            elif query.get("list-type") == "2":
                self.list(bucket, query.get("prefix", ""))
            elif path in store.objects:
                self.answer(200, store.objects[path], {"ETag": etag(store.objects[path])})
            else:
                self.fail(404, "NoSuchKey")

        def list(self, bucket: str, prefix: str) -> None:
            entries = "".join(
                f"<Contents><Key>{escape(name.partition('/')[2])}</Key><Size>{len(content)}</Size>"
                f"<ETag>{escape(etag(content))}</ETag></Contents>"
                for name, content in store.objects.items()
                if name.startswith(f"{bucket}/{prefix}")
            )
            self.answer(200, f"<ListBucketResult><Name>{bucket}</Name>{entries}</ListBucketResult>".encode(), {})

        def fail(self, status: int, code: str) -> None:
            self.answer(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode(), {})

        def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": "application/xml", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    store.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def etag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
