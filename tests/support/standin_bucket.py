"""A stand-in for an S3 store over a real socket: it lists and reads objects, as boto3 asks for them.

It checks no signature.

The API: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html and `GetObject`.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from standin_server import Handler, StandinServer

XML = {"Content-Type": "application/xml"}


@dataclass
class StandinBucket:
    """A running stand-in.

    objects: `bucket/key` -> bytes; may be changed while it runs.
    refuses: whether everybody is denied. broken: objects that are listed and cannot be read.
    asked: paths of the requests, in order.
    """

    url: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    refuses: bool = False
    broken: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    @property
    def environ(self) -> dict[str, str]:
        """What boto3 reads."""
        return {"AWS_ENDPOINT_URL": self.url, "AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "none"}


@contextlib.contextmanager
def standin_bucket(objects: dict[str, bytes]) -> Iterator[StandinBucket]:
    store = StandinBucket(objects=dict(objects))

    class StoreHandler(Handler):
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
            elif path in store.broken:
                self.fail(500, "InternalError")
            elif path in store.objects:
                self.respond(200, store.objects[path], {"ETag": etag(store.objects[path]), **XML})
            else:
                self.fail(404, "NoSuchKey")

        def list(self, bucket: str, prefix: str) -> None:
            entries = "".join(
                f"<Contents><Key>{escape(name.partition('/')[2])}</Key><Size>{len(content)}</Size>"
                f"<ETag>{escape(etag(content))}</ETag></Contents>"
                for name, content in store.objects.items()
                if name.startswith(f"{bucket}/{prefix}")
            )
            self.respond(200, f"<ListBucketResult><Name>{bucket}</Name>{entries}</ListBucketResult>".encode(), XML)

        def fail(self, status: int, code: str) -> None:
            self.respond(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode(), XML)

    with StandinServer(StoreHandler) as server:
        store.url = server.url
        yield store


def etag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
