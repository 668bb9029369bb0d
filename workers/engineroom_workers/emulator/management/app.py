"""The management API as one ASGI app: who may speak, faults, and errors as problem details."""

from __future__ import annotations

import hmac
import logging

from starlette.exceptions import HTTPException
from starlette.routing import Router

from engineroom.asgi import Message, Receive, Scope, Send, header

from .account import Account
from .problems import RequestProblem
from .routes.billing import BillingRoutes
from .routes.catalog import CatalogRoutes
from .routes.clusters import ClusterRoutes
from .routes.endpoints import EndpointRoutes
from .routes.pods import PodRoutes
from .routes.registries import RegistryRoutes
from .routes.templates import TemplateRoutes
from .routes.volumes import VolumeRoutes

logger = logging.getLogger(__name__)


class ManagementApp:
    """`/v2/<section>/...`."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._router = Router(
            [
                *TemplateRoutes(account).routes(),
                *EndpointRoutes(account).routes(),
                *PodRoutes(account).routes(),
                *VolumeRoutes(account).routes(),
                *RegistryRoutes(account).routes(),
                *CatalogRoutes(account).routes(),
                *BillingRoutes(account).routes(),
                *ClusterRoutes().routes(),
            ],
            redirect_slashes=False,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = _WatchedSend(send)
        try:
            self._authorize(scope)
            self._strike()
            answer = _LostAnswer() if self._account.faults.strikes("api_lose_answers") else sending
            # With an app in the scope, the router raises instead of answering in its own words.
            await self._router({**scope, "app": self}, receive, answer)
            if isinstance(answer, _LostAnswer):
                raise RequestProblem(502, "injected: api_lose_answers")
        except RequestProblem as problem:
            await problem.response()(scope, receive, sending)
        except HTTPException as error:
            detail = {404: "there is no such path", 405: "the path does not take this method"}.get(error.status_code)
            await RequestProblem(error.status_code, detail or error.detail).response()(scope, receive, sending)
        except Exception:
            logger.exception("the management API failed")
            if not sending.started:
                await RequestProblem(500, "the emulator failed; its output says why").response()(
                    scope, receive, sending
                )

    def _authorize(self, scope: Scope) -> None:
        """Refuse a request without a key, or with another than the emulator's, if it has one."""
        scheme, _, key = (header(scope, b"authorization") or b"").partition(b" ")
        if scheme.lower() != b"bearer" or not key.strip():
            raise RequestProblem(401, "missing bearer token")
        wanted = self._account.options.api_key
        if wanted is not None and not hmac.compare_digest(key.strip(), wanted.encode()):
            raise RequestProblem(401, "invalid bearer token")

    def _strike(self) -> None:
        """Inject the faults that are due."""
        if self._account.faults.strikes("api_429"):
            raise RequestProblem(429, "injected: api_429", headers={"Retry-After": "1"})
        if self._account.faults.strikes("api_500"):
            raise RequestProblem(500, "injected: api_500")


class _WatchedSend:
    """Sends, and knows whether a response has begun."""

    def __init__(self, send: Send) -> None:
        self.started = False
        self._send = send

    async def __call__(self, message: Message) -> None:
        self.started = True
        await self._send(message)


class _LostAnswer:
    """Drops a response."""

    async def __call__(self, message: Message) -> None:
        return
