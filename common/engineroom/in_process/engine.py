"""TokenEngine: an engine inside this process that only yields tokens; the core gives it the OpenAI surface."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import TYPE_CHECKING

from ..engine import MODELS, Capabilities, Engine, Health, Route
from ..errors import engine_dead
from ..openai.routes import CHAT_COMPLETIONS, COMPLETIONS, EMBEDDINGS
from ..openai.serving.tokens import TokenSource

if TYPE_CHECKING:
    from ..settings.worker import WorkerSettings


class TokenEngine(Engine, TokenSource):
    """Base of engines that run in this process.

    A subclass implements `load`, `unload`, `tokenize`, `chat_prompt` and `generate_tokens`, and `embed` if it has
    embeddings. It calls `super().__init__(worker)`, and `self.die(reason)` if it can no longer serve. It declares in
    `capabilities` which of a `TokenRequest`'s demands it meets: `logprobs`, `schema` (`json_schema`, and forced tools),
    `tools` in the prompt. Several choices need nothing of it: each is a `TokenRequest` of its own.

    Args:
        model: the name to serve where the user gave none for clients; MODEL_NAME by default.
    """

    capabilities = Capabilities(surfaces=frozenset({"chat", "completions"}), several_choices=True)

    def __init__(self, worker: WorkerSettings, model: str = "") -> None:
        from ..openai.gateway import Gateway
        from ..openai.limits import RequestLimits
        from ..openai.serving.app import OpenAIApp

        self._models = worker.served_model_name or (model or worker.model_name or self.name,)
        self._health = Health(live=True, ready=False, reason="loading")
        self._dead: asyncio.Event | None = None
        self.app = self._gateway = Gateway(
            self,
            OpenAIApp(self),
            worker.max_body,
            worker.request_timeout,
            counts_usage=True,
            limits=RequestLimits.of(worker),
        )

    @property
    def models(self) -> tuple[str, ...]:
        return self._models

    @property
    def routes(self) -> frozenset[Route]:
        served = {*MODELS, Route("POST", CHAT_COMPLETIONS), Route("POST", COMPLETIONS)}
        if type(self).embed is not TokenSource.embed:
            served.add(Route("POST", EMBEDDINGS))
        return frozenset(served)

    @abstractmethod
    async def load(self) -> None:
        """Load the model. Raises EngineStartError."""

    @abstractmethod
    async def unload(self) -> None:
        """Free everything; called once, also after a failed `load`."""

    async def start(self) -> None:
        self._dead = asyncio.Event()
        try:
            await self.load()
        except BaseException as error:
            self._health = Health(live=False, ready=False, reason=str(error))
            raise
        self._health = Health(live=True, ready=True, reason="ready")

    async def stop(self) -> None:
        if self._health.reason == "stopped":
            return
        self._health = Health(live=False, ready=False, reason="stopped")
        self._gateway.close()
        await self.unload()

    def die(self, reason: str) -> None:
        """Declare the engine dead: running requests end with an error, and `died()` returns `reason`."""
        self._health = Health(live=False, ready=False, reason=reason)
        self._gateway.close(engine_dead(reason))
        if self._dead is not None:
            self._dead.set()

    def health(self) -> Health:
        return self._health

    async def died(self) -> str:
        if self._dead is None:
            self._dead = asyncio.Event()
        await self._dead.wait()
        return self._health.reason
