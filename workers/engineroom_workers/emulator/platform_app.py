"""The whole platform as one ASGI app: the management API, its endpoints, and the endpoint for workers of one's own."""

from __future__ import annotations

from starlette.routing import Router

from engineroom.asgi import Receive, Scope, Send

from .app import EmulatorApp
from .http import send_error
from .management.account import Account
from .management.app import ManagementApp
from .management.pod_proxy import PodProxy
from .management.routes.stock import StockRoutes
from .options import SECTIONS
from .platform import Emulator


class PlatformApp:
    """`/v2/<section>`, `/v2/<endpoint>`, `/lb/<endpoint>`, `/proxy/<pod>/<port>` and `/emulator`.

    Args:
        emulator: the endpoint for workers that the user starts, or whose command is given.
        account: what the management API creates.
    """

    def __init__(self, emulator: Emulator, account: Account) -> None:
        self._account = account
        self._endpoint = EmulatorApp(emulator)
        self._endpoint_id = emulator.options.endpoint_id
        self._management = ManagementApp(account)
        self._pods = PodProxy(account)
        self._stock = Router(StockRoutes(account).routes())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        section, _, rest = path[1:].partition("/")
        name = rest.partition("/")[0]
        if section == "v2" and name == self._endpoint_id:
            await self._endpoint(scope, receive, send)
        elif section == "v2" and name in SECTIONS:
            await self._management(scope, receive, send)
        elif section == "proxy":
            await self._pods(scope, receive, send)
        elif section in ("v2", "lb"):
            front = self._account.front_of(name)
            if front is None or front.section != section:
                await send_error(send, 404, f"there is no endpoint {name!r}")
            else:
                await front(scope, receive, send)
        elif path == "/emulator/stock":
            await self._stock(scope, receive, send)
        else:
            await self._endpoint(scope, receive, send)
