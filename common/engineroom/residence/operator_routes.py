"""What operators ask of several models: which are loaded (`GET /running`), and to load or unload one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from ..asgi.types import Scope, Send, send_body
from ..engine import Route
from ..errors import APIError
from ..openai.model_list import LIST
from ..timeouts import timeout

if TYPE_CHECKING:
    from .residents import ResidentModel

RUNNING = "/running"
OPERATOR_ROUTES = frozenset({Route("GET", RUNNING), Route("POST", f"{LIST}/*")})

_PATIENCE_S = 30.0
"""How long a load or an unload is waited for before it is answered as being under way: proxies wait for a minute."""


class OperatedModels(Protocol):
    """What is asked, and carries the wishes out."""

    def residents(self) -> tuple[ResidentModel, ...]:
        """Every model as it is now."""

    def entry_name(self, model: str) -> str | None:
        """The entry that serves a model, by any of its names; None where none does."""

    async def load(self, name: str) -> None:
        """Load a model, and wait until it is. Who stops waiting changes nothing about the wish. Raises APIError."""

    async def unload(self, name: str) -> None:
        """Unload a model, and wait until it is gone; the same holds."""


class ModelOperations:
    """Answers them at any time.

    `POST /v1/models/{name}/load` and `…/unload` are answered with 200 when it is done, at once where there is nothing
    to do. Where it takes longer than half a minute the answer is a 202: it goes on by itself, and `GET /running` says
    how far it is.
    """

    def __init__(self, models: OperatedModels) -> None:
        self._models = models

    def serves(self, scope: Scope) -> bool:
        """Whether a request is for one of them; a HEAD is as the GET."""
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        return any(route.method == method and route.matches(scope["path"]) for route in OPERATOR_ROUTES)

    async def answer(self, scope: Scope, send: Send) -> None:
        """Answer a request for one of them.

        Raises:
            APIError: there is no such model or route, or why it could not be loaded.
        """
        path: str = scope["path"]
        status = 200
        if path == RUNNING:
            content: Any = {
                "running": [as_running(model) for model in self._models.residents() if model.phase != "absent"]
            }
        else:
            name, _, what = path.removeprefix(f"{LIST}/").rpartition("/")
            wishes = {"load": self._models.load, "unload": self._models.unload}
            if not name or what not in wishes:
                message = f"Invalid URL (POST {path}). Perhaps you meant {LIST}/NAME/load, or /unload?"
                raise APIError(message, status=404)
            try:
                async with timeout(_PATIENCE_S):
                    await wishes[what](name)
            except asyncio.TimeoutError:
                status = 202
            entry = self._models.entry_name(name)
            content = as_running(next(model for model in self._models.residents() if model.name == entry))
        await send_body(send, status, msgspec.json.encode(content), b"application/json")


def as_running(model: ResidentModel) -> dict[str, Any]:
    """A model as `/running` has it: llama-swap's names `model` and `state`, and all that `/health` says of it."""
    others = {name: value for name, value in model.as_json().items() if name not in ("name", "phase")}
    return {"model": model.name, "state": model.phase, **others}
