"""What the door needs of whatever answers its requests: an engine, or one engine after another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from engineroom.asgi import ASGIApp
    from engineroom.engine import Health, Route
    from engineroom.timeline import Timeline


class Served(Protocol):
    """The part of `engineroom.engine.Engine` that the door uses; see there."""

    @property
    def name(self) -> str: ...

    @property
    def app(self) -> ASGIApp: ...

    @property
    def timeline(self) -> Timeline: ...

    @property
    def models(self) -> tuple[str, ...]: ...

    @property
    def routes(self) -> frozenset[Route]: ...

    def knows_model(self, name: str) -> bool: ...

    def health(self) -> Health: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def died(self) -> str: ...

    async def metrics(self) -> str: ...
