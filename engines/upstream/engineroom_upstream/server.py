"""One server elsewhere: the connection to it, what it has, and whether it can be used."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import msgspec

from engineroom.breaker import Breaker
from engineroom.engine import Health
from engineroom.errors import APIError
from engineroom.http_client import FAILURES, ConnectionPool, Origin
from engineroom.openai.upstream_errors import from_upstream, retry_after
from engineroom.server import Proxy, Upstream

from .diagnostics import WrongAnswerError, explain, is_lasting
from .error_bodies import begins_well, error_status, first_error

if TYPE_CHECKING:
    from engineroom.asgi import Scope, Send
    from engineroom.http_client import RelayableResponse
    from engineroom.openai.body import Request

logger = logging.getLogger(__name__)

_CHECK_S = 4
_CONNECT_S = 10
_KEEP_S = 15
"""Seconds that an idle connection is kept."""
_QUOTED = "/:@!$&'()*+,;=%"
"""What stays as it is in the path of a URL that a user has written."""
_FAILURES = 3
_REST_S = 10
_SILENT_S = 30
"""Seconds without so much as an acknowledgement, which the kernel asks for, after which a machine counts as gone. A
server that is only busy acknowledges, and may be silent for as long as REQUEST_TIMEOUT."""
_BROKEN = frozenset({502, 504})
_REFUSED = frozenset({401, 403})
ELSEWHERE = frozenset({404, 429, 500, 502, 503, 504})
"""Statuses after which another server is asked: this one has not what is asked for, is busy, is broken, cannot be
reached, or refuses our key."""


class BaseURLProxy(Proxy):
    """Passes requests on to an OpenAI client's `base_url`, which has the routes without their `/v1`.

    An error that arrives with a 200 gets its status back, as long as the client has been sent nothing. A body that no
    such API answers with, a login page for instance, counts as a failure of the server.
    """

    def __init__(self, server: UpstreamServer) -> None:
        super().__init__(server)
        self._server = server

    def path(self, scope: Scope) -> str:
        return str(scope["path"]).removeprefix("/v1")

    async def answer(self, scope: Scope, request: Request, response: RelayableResponse, send: Send) -> None:
        if not 200 <= response.status < 600:
            raise self._server.answered_with(f"the status {response.status}")
        if 300 <= response.status < 400 and response.status != 304:
            raise self._server.answered_with(
                f"a redirect ({response.status} to {response.headers.get('location', '')})"
            )
        if response.status < 300 and response.content_type == "text/html":
            raise self._server.answered_with("a page")
        await self._check_form(request, response)
        try:
            await super().answer(scope, request, response, send)
        except APIError as error:
            if error.status in (429, 503):
                error.retry_after = math.ceil(retry_after(response.headers)) or error.retry_after
            raise

    async def _check_form(self, request: Request, response: RelayableResponse) -> None:
        """Raises APIError where a client that wants a stream would get a whole answer, or the other way round."""
        if request.json is None or response.status >= 300:
            return
        wants_stream = request.json.get("stream") is True
        if response.content_type == "text/event-stream" and not wants_stream:
            raise self._server.answered_with("a stream where a whole answer was asked for")
        if response.content_type == "application/json" and wants_stream:
            await self.rewrite("", await response.read())  # It may be an error.
            raise self._server.answered_with("a whole answer where a stream was asked for")

    async def rewrite(self, path: str, body: bytes) -> bytes:
        if body and not _is_json(body):
            raise self._server.answered_with("an invalid body with the content type JSON")
        status = error_status(body)
        if status is not None:
            raise self._server.normalise_error(status, body)
        return body

    def look_at_first(self, events: bytes) -> None:
        if not begins_well(events):
            raise self._server.answered_with("an event that is no JSON")
        error = first_error(events)
        status = None if error is None else error_status(error)
        if error is not None and status is not None:
            raise self._server.normalise_error(status, error)


class UpstreamServer:
    """A server elsewhere that requests can go to. Make it inside a running loop; `close()` it.

    Args:
        url: an OpenAI client's `base_url`; one without any path means its `/v1`.
        headers: what it is to get with each request, such as its key.
        checked: whether it is checked before it is used.
        renamed: names that clients may use -> the name by which it knows the model.
        assumed: the models that it probably has, for a list of them where it is not asked.

    name: host and port, for people and metrics.
    running: how many requests of ours are with it.
    models: the models that it listed; empty where it was not asked.
    url: what it was made with.
    reason: why it cannot be used; empty where it can.
    misconfigured: whether that reason will hardly go away by itself: a wrong key, or no such API.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        checked: bool,
        renamed: Mapping[str, str] | None = None,
        assumed: Sequence[str] = (),
    ) -> None:
        self.url = url
        base = url.rstrip("/") + ("" if urlsplit(url).path.strip("/") else "/v1")
        self.name = base.partition("://")[2].removesuffix("/v1")
        self.upstream = _connection(base, headers)
        self.breaker = Breaker(_FAILURES, _REST_S)
        self.running = 0
        self.models: tuple[str, ...] = ()
        self.reason = "not checked yet" if checked else ""
        self._checked = checked
        self._assumed = tuple(assumed)
        self.misconfigured = False
        self._renamed = renamed or {}
        self._key = headers.get("Authorization", "").removeprefix("Bearer ").encode()
        self._proxy = BaseURLProxy(self)

    @property
    def listed(self) -> tuple[str, ...]:
        """The models to name in a list: those that it listed, else those that it probably has."""
        return self.models or self._assumed

    @property
    def answers(self) -> bool:
        """Whether its last check went well, if it is checked."""
        return not self.reason

    @property
    def usable(self) -> bool:
        """Whether it can be preferred to another: its requests go well, too."""
        return self.answers and self.breaker.state != "open"

    def has(self, model: str | None) -> bool:
        """Whether it has `model`, as far as is known."""
        return model is None or not self.models or model in self.models or self._renamed.get(model) in self.models

    async def serve(self, scope: Scope, send: Send) -> None:
        """Answer a request with this server's answer.

        Raises:
            APIError: the server's own error; with a status in ELSEWHERE where another may do better.
        """
        self.running += 1
        try:
            await self._proxy(scope, _read_already, send)
        finally:
            self.running -= 1
        self.breaker.succeeded()

    async def check(self) -> None:
        """Ask for its models, and note whether it can be used. One that is not to be checked is left alone."""
        if not self._checked:
            return
        reason = ""
        self.misconfigured = False
        try:
            self.models = await self._list()
        except (*FAILURES, WrongAnswerError) as error:
            reason = explain(error)
            self.misconfigured = is_lasting(error)
        if reason != self.reason:
            logger.log(logging.WARNING if reason else logging.INFO, "%s: %s", self.name, reason or "ready")
        self.reason = reason

    async def _list(self) -> tuple[str, ...]:
        response, body = await self.upstream.fetch("GET", "/models", seconds=_CHECK_S)
        if response.status != 200:
            where = response.headers.get("location")
            raise WrongAnswerError(f"status {response.status}" + (f" to {where}" if where else ""))
        try:
            return _names(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            kind = "a page" if response.content_type == "text/html" else f"other {response.content_type}"
            raise WrongAnswerError(f"no list of models but {kind}") from None

    async def close(self) -> None:
        await self.upstream.close()

    # For the proxy: this is what it takes for an engine.

    def prepare(self, path: str, json: dict[str, Any]) -> dict[str, Any] | None:
        name = str(json.get("model"))
        if name in self.models or name not in self._renamed:
            return None
        return {**json, "model": self._renamed[name]}

    def health(self) -> Health:
        return Health(live=True, ready=True, reason="ready")

    def normalise_error(self, status: int, body: bytes) -> APIError:
        # Some servers quote the headers that they were sent, and our key among them.
        error = from_upstream(status, body.replace(self._key, "•••".encode()) if self._key else body)
        if status in _BROKEN | _REFUSED:
            self.breaker.failed()
        elif status not in ELSEWHERE or status == 404:
            self.breaker.succeeded()
        if status in _REFUSED:
            # The client's own key was good, or it would not be here.
            logger.error("%s refuses our key (UPSTREAM_API_KEY): %s", self.name, error.message)
            return APIError("The server behind this one refuses its key.", status=502, code="upstream_refused")
        return error

    def answered_with(self, what: str) -> APIError:
        """The error for a client whose request this server answered with no answer of such an API."""
        self.breaker.failed()
        logger.warning("%s answered with %s", self.name, what)
        return APIError("The server behind this one sent an invalid answer.", status=502, code="upstream_invalid")

    async def lost(self, error: Exception) -> APIError:
        self.breaker.failed()
        logger.warning("%s: %s", self.name, error or type(error).__name__)
        return APIError("The server behind this one cannot be reached.", status=502, code="upstream_unreachable")


def _is_json(body: bytes) -> bool:
    """Whether a body is an object or an array in JSON, from its first byte to its last."""
    try:
        msgspec.json.decode(body, type=dict[str, msgspec.Raw] | list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def _connection(url: str, headers: Mapping[str, str]) -> Upstream:
    """The connection to a server at a URL."""
    # What is compressed could not be looked at, nor passed on to a client that did not ask for it. The whole request is
    # timed by the gateway; a long prefill sends nothing for minutes.
    headers = {**headers, "Accept-Encoding": "identity"}
    pool = ConnectionPool(
        Origin.of_url(url), headers, keep_alive=_KEEP_S, connect_timeout=_CONNECT_S, silence=_SILENT_S
    )
    return Upstream(pool, headers, quote(urlsplit(url).path.rstrip("/"), safe=_QUOTED))


async def _read_already() -> dict[str, Any]:
    raise AssertionError("the gateway has read the request before it is served")


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


def _names(body: bytes) -> tuple[str, ...]:
    return tuple(model.id for model in msgspec.json.decode(body, type=_Models).data)
