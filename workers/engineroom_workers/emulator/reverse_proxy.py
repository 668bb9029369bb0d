"""Passing a request on to an HTTP server, and its response back piece by piece, as the platform's proxies do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import aiohttp

from engineroom.asgi import Scope, Send

WORKER_ID = b"x-runpod-worker-id"
"""The header that names a worker: in a response the one that answered, in a request the one that is wanted."""
_HOP_BY_HOP = {b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"host", b"content-length", WORKER_ID}


class UpstreamFailed(Exception):
    """The server did not answer. Nothing has been sent to the client."""


async def pass_on(
    url: str,
    scope: Scope,
    body: bytes,
    send: Send,
    timeout: aiohttp.ClientTimeout,
    also: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    """Send a request to a server, and what it answers to the client, as it comes.

    Args:
        url: the server's, with the path; the query is the request's.
        also: headers to add to the response.

    Raises:
        UpstreamFailed: it did not answer. A response that breaks off just ends.
    """
    query = scope["query_string"].decode("latin-1")
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in passed_on(scope["headers"])]
    started = False
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
            session.request(
                scope["method"], url + (f"?{query}" if query else ""), headers=headers, data=body, allow_redirects=False
            ) as response,
        ):
            answer = [*passed_on(response.raw_headers), *also]
            await send({"type": "http.response.start", "status": response.status, "headers": answer})
            started = True
            async for chunk in response.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
        if not started:
            raise UpstreamFailed(repr(error)) from error


def passed_on(headers: Sequence[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """The headers that a proxy passes on; those of a connection are not (RFC 9110, 7.6.1)."""
    for name, value in headers:
        if name.lower() not in _HOP_BY_HOP:
            yield name.lower(), value
