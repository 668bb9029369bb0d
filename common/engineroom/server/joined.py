"""An engine's server that another process of this machine has started, and to which this one sends requests, too."""

from __future__ import annotations

import pickle

from ..asgi.types import ASGIApp
from ..openai.usage_counter import UsageCounter
from .engine import ServerEngine


class JoinedEngine:
    """What sends requests to the server. Who has started it checks them, watches it, and ends it.

    app: takes requests that are checked (`checked_request(scope)`). It counts their tokens, and raises APIError.
    """

    def __init__(self, engine: ServerEngine) -> None:
        self._engine = engine
        self.app: ASGIApp = UsageCounter(engine.join())

    async def close(self) -> None:
        """Close the connections to the server, which goes on."""
        await self._engine.leave()


def join_engine(description: bytes) -> JoinedEngine:
    """Join the engine that another process has shared (`Engine.share`). Call it inside a running loop.

    Args:
        description: as that process has sent it. It is unpickled: take it from nobody else.
    """
    engine = pickle.loads(description)
    assert isinstance(engine, ServerEngine)
    return JoinedEngine(engine)
