"""Every exchange of our client with the management API is held against RunPod's OpenAPI file, where that is present."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

import pytest
from runpod_contract import check_exchange

from engineroom_operations.runpod_api.transport import Call, Transport


def _nothing() -> None:
    return None


@contextmanager
def checked_transport(before: Callable[[], None] = _nothing, after: Callable[[], None] = _nothing) -> Iterator[None]:
    """Check what is sent and received in this block.

    Args:
        before: called before each request is sent; what it raises ends the request.
        after: called when it has had its effect.
    """
    once: Callable[..., Any] = Transport._once

    async def checked(self: Transport, call: Call) -> tuple[int, Mapping[str, str], bytes]:
        before()
        status, headers, body = await once(self, call)
        url = f"https://api.runpod.io/v2/{call.path}" + (f"?{urlencode(call.query)}" if call.query else "")
        check_exchange(call.method, url, call.body, status, headers.get("Content-Type", ""), body)
        after()
        return status, headers, body

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Transport, "_once", checked)
        yield
