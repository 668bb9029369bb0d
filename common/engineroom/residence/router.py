"""The app in front of several models: it reads which one a request is for, and lets it wait for that."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qs

import msgspec

from ..asgi.disconnect import ClientDisconnected
from ..asgi.fast_path import at_head
from ..asgi.held import HeldResponse
from ..asgi.types import Message, Receive, Scope, Send, header, send_body
from ..engine import Route, RunningEngine
from ..errors import APIError, drop_tracebacks
from ..openai.body import Request, read_request
from ..openai.errors import error_response
from ..openai.gateway import check_route, model_not_text, unknown_model, without_body
from ..openai.model_list import LIST
from ..openai.routes import COUNT_INPUT, RESPONSES
from .form_field import form_field
from .operator_routes import ModelOperations, OperatedModels
from .run_loop import RunLoop

if TYPE_CHECKING:
    from ..openai.surfaces.responses.store import MemoryStorage
    from .engines import ModelFacts
    from .residents import ResidentModel

logger = logging.getLogger(__name__)

_TRIES = 2
"""Engines that a request is given, one after the other, where one dies before it has answered anything."""


class RoutedModels(OperatedModels, Protocol):
    """What the router asks of the models."""

    @property
    def facts(self) -> Mapping[str, ModelFacts]: ...

    @property
    def models(self) -> tuple[str, ...]: ...

    @property
    def served_routes(self) -> frozenset[Route]: ...

    async def find_entry(self, model: str) -> str | None: ...

    async def adapters_by_entry(self) -> Mapping[str, tuple[str, ...]]: ...


class Router:
    """Routes requests to models by the field `model` of their body.

    Routes without a body of JSON take the name from a form's field, or from the query (`?model=`). A request that names
    no model is for the first one of the table that serves the route.

    The list of models is answered here: it has all of them, loaded or not, and says which are. Responses that clients
    may come back to (`/v1/responses/{id}`) are kept here, whichever model gave them, unless its engine keeps them.

    Args:
        models: what there is.
        run_loop: grants places.
        max_body: largest body in bytes.
    """

    def __init__(self, models: RoutedModels, run_loop: RunLoop, max_body: int) -> None:
        self._models = models
        self._operations = ModelOperations(models)
        self._run_loop = run_loop
        self._max_body = max_body
        self._created = int(time.time())
        self._kept: MemoryStorage | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        def send_head(message: Message) -> Awaitable[None]:
            nonlocal started
            started = True
            return send(message)

        try:
            await self._serve(scope, receive, at_head(send, send_head))
        except ClientDisconnected as error:
            drop_tracebacks(error)
        except APIError as error:
            drop_tracebacks(error)
            if started:
                raise
            await error_response(send, scope, error)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        check_route(scope, self._models.served_routes)
        path: str = scope["path"]
        if self._operations.serves(scope):
            await self._operations.answer(scope, without_body(send) if scope["method"] == "HEAD" else send)
            return
        if path == LIST or path.startswith(LIST + "/"):
            await self._list(path, without_body(send) if scope["method"] == "HEAD" else send)
            return
        request = await read_request(scope, receive, self._max_body)
        name = await self._name(scope, request)
        if path.startswith(RESPONSES):
            storage = self._storage()
            if name is None and path.startswith(RESPONSES + "/") and path != COUNT_INPUT:
                from ..openai.surfaces.responses.store import response_store
                from ..openai.surfaces.responses.stored import serve_stored

                await serve_stored(response_store(scope, storage), scope, send)
                return
            from ..openai.surfaces.responses.store import share_storage

            share_storage(scope, storage)
        await self._serve_by(name or self._first(scope), scope, receive, send)

    async def _serve_by(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a model answer; where its engine dies before it has, once more."""
        for attempt in range(1, _TRIES + 1):
            place = self._run_loop.arrive(name)
            try:
                await self._run_loop.wait(place, receive)
                engine = self._run_loop.engine(name)
                assert engine is not None, "a place is granted only at an engine"
                response = _held(engine, send)
                await engine.app(scope, receive, response.send)
                del engine
            finally:
                self._run_loop.leave(place)
            if not response.held:
                return
            if attempt == _TRIES:
                await response.release()
                return
            logger.info("%s %s is for another engine of %s: one died", scope["method"], scope["path"], name)

    async def _name(self, scope: Scope, request: Request) -> str | None:
        """The entry that a request names; None where it names none.

        Raises:
            APIError: 404, there is no such model; 400, the name is no text.
        """
        if request.json is not None:
            model = request.json.get("model")
            if model is not None and not isinstance(model, str):
                raise model_not_text()
        else:
            model = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("model", [None])[0]
            if model is None and scope["method"] == "POST":
                model = form_field(header(scope, b"content-type") or b"", request.body, "model")
        if model is None:
            return None
        name = await self._models.find_entry(model)
        if name is None:
            raise unknown_model(model, self._models.models)
        return name

    def _first(self, scope: Scope) -> str:
        """The entry for a request that names none: the first that serves the route."""
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        for name, facts in self._models.facts.items():
            if any(route.method == method and route.matches(scope["path"]) for route in facts.served_routes):
                return name
        return next(iter(self._models.facts))

    def _storage(self) -> MemoryStorage:
        """Where responses are kept in this process, whoever gave them."""
        if self._kept is None:
            from ..openai.surfaces.responses.store import MemoryStorage

            self._kept = MemoryStorage()
        return self._kept

    async def _list(self, path: str, send: Send) -> None:
        """The list of models, or one of them. An alias is a model of its own to OpenAI's clients."""
        adapters = await self._models.adapters_by_entry()
        listed: list[dict[str, Any]] = [
            {
                "id": name,
                "object": "model",
                "created": self._created,
                "owned_by": resident.engine,
                "state": resident.phase,
                **extra,
            }
            for resident in self._models.residents()
            for name, extra in _names(resident, adapters[resident.name])
        ]
        answer: dict[str, Any] = {"object": "list", "data": listed}
        if path != LIST:
            name = path.removeprefix(LIST + "/")
            model = next((each for each in listed if each["id"] == name), None)
            if model is None:
                raise unknown_model(name, self._models.models)
            answer = model
        await send_body(send, 200, msgspec.json.encode(answer), b"application/json")


def _held(engine: RunningEngine, send: Send) -> HeldResponse:
    """A response that holds its error back where the engine has died."""
    return HeldResponse(lambda: not engine.health().live, send)


def _names(resident: ResidentModel, adapters: Iterable[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """The names of a model, and what the list has beside them."""
    yield resident.name, {}
    for alias in resident.aliases:
        yield alias, {"alias_of": resident.name}
    for adapter in adapters:
        if adapter not in (resident.name, *resident.aliases):
            yield adapter, {"parent": resident.name, "root": adapter}
