"""`/emulator/stock`: how much there is of which GPU and CPU, which the platform does not let anyone choose."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...http import encode
from ..account import Account
from .requests import answer


class StockRoutes:
    """What tests change: NONE, LOW, MEDIUM or HIGH for a type."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def routes(self) -> list[Route]:
        return [Route("/emulator/stock", self.stock, methods=["GET", "POST"])]

    async def stock(self, request: Request) -> Response:
        """The types whose stock is not HIGH; a POST changes those that it names."""
        catalog = self._account.catalog
        if request.method == "POST":
            try:
                catalog.set_stock(msgspec.json.decode(await request.body(), type=dict[str, str]))
            except (ValueError, msgspec.MsgspecError) as error:
                return Response(encode({"error": str(error)}), 400, media_type="application/json")
        return answer({type_id: level for type_id, level in catalog.stock.items() if level != "HIGH"})
