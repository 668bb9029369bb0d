"""The proxy before the pods: `/proxy/<pod>/<port>/…` is the path of the server that listens there."""

from __future__ import annotations

from typing import Final

import aiohttp

from engineroom.asgi import ClientDisconnected, Receive, Scope, Send, race

from ..http import BodyTooLarge, read_body, send_error
from ..limits import MB
from ..reverse_proxy import UpstreamFailed, pass_on
from .account import Account

MAX_BODY: Final = 100 * MB
"""Largest body of a request (a guess)."""
TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=100)
"""A server has 100 seconds between two pieces of its response (a guess)."""


class PodProxy:
    """One ASGI app for all pods. It asks for no key."""

    def __init__(self, account: Account) -> None:
        self._account = account

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        pod_id, _, rest = scope["path"].removeprefix("/proxy/").partition("/")
        port = rest.partition("/")[0]
        pod = self._account.pods.get(pod_id)
        if pod is None:
            await send_error(send, 404, f"there is no pod {pod_id!r}")
            return
        url = pod.url_of(int(port)) if port.isdecimal() else None
        if url is None:
            await send_error(send, 502, f"pod {pod_id} has no HTTP port {port}, or does not run")
            return
        path = scope["raw_path"].decode("latin-1").removeprefix(f"/proxy/{pod_id}/{port}")
        try:
            body = await read_body(scope, receive, MAX_BODY)
            await race(pass_on(url + (path or "/"), scope, body, send, TIMEOUT), receive)
        except BodyTooLarge:
            await send_error(send, 413, f"the body has more than {MAX_BODY} bytes")
        except UpstreamFailed as failure:
            await send_error(send, 502, f"nothing answers at port {port} of pod {pod_id}: {failure}")
        except ClientDisconnected:
            return
