"""One request after another, for programs that have no event loop."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

import uvloop

from engineroom_operations.load import HTTPClient, RequestFailure


class Posted(NamedTuple):
    """What came of a request. status: 0 where there was no whole answer in time; text: the answer, or why not."""

    status: int
    seconds: float
    text: str


def post(url: str, body: bytes, timeout_s: float, headers: Mapping[str, str] | None = None) -> Posted:
    """Send JSON on a connection of its own, and wait for the whole answer; also from a thread."""
    return uvloop.run(_post(url, body, timeout_s, headers))


async def _post(url: str, body: bytes, timeout_s: float, headers: Mapping[str, str] | None) -> Posted:
    client = HTTPClient(url, headers, keep=False)
    began = time.perf_counter()
    try:
        response = await client.fetch("POST", "", body, timeout_s)
    except RequestFailure as failure:
        return Posted(0, time.perf_counter() - began, str(failure))
    return Posted(response.status, time.perf_counter() - began, response.body.decode(errors="replace"))
