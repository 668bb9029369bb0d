"""TokenEngine: an engine inside this process that only yields tokens; the core gives it the OpenAI surface."""

from __future__ import annotations

import asyncio
import math
import threading
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from ..engine import MODELS, Capabilities, Engine, Health, Route
from ..errors import engine_dead
from ..openai.routes import CHAT_COMPLETIONS, COMPLETIONS, EMBEDDINGS
from ..openai.serving.tokens import TokenRequest, TokenSource
from ..pool_load import PoolFacts
from ..process.activity import own_activity, thread_activity
from ..watchdog import Activity, Watchdog
from .threads import exit_without

if TYPE_CHECKING:
    from ..settings.worker import WorkerSettings

_LONGEST_STEP = 10
"""How many times ENGINE_HANG_TIMEOUT one step may take that computes all the while."""


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
        self.hung = False
        """Whether its watchdog has taken it for dead: what still runs of it will not end when it is told to."""
        self._hang_timeout = worker.engine_hang_timeout
        self._watchdog: Watchdog | None = None
        self._guard: asyncio.Task[None] | None = None
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

    def working_threads(self) -> Sequence[threading.Thread]:
        """The threads that do its work, by whose processor time a long step is told from a hang; by default that of
        this whole process counts."""
        return ()

    def activity(self) -> Activity | None:
        """What does its work has done so far; by default `working_threads`, and without them this whole process."""
        threads = self.working_threads()
        if not threads:
            return own_activity()
        return thread_activity([thread.native_id for thread in threads if thread.native_id is not None])

    def steps(self) -> int | None:
        """How many steps its work has made so far; None, by default, where nothing is counted but what it yields.

        With it, a single step that takes ten times ENGINE_HANG_TIMEOUT is a hang, however much it computes.
        """
        return None

    async def start(self) -> None:
        self._dead = asyncio.Event()
        try:
            await self.load()
        except BaseException as error:
            self._health = Health(live=False, ready=False, reason=str(error))
            raise
        self._health = Health(live=True, ready=True, reason="ready")
        busy_factor = math.inf if self.steps() is None else _LONGEST_STEP
        self._watchdog = Watchdog(_WatchedTokens(self), self._hang_timeout, busy_factor)
        self._guard = asyncio.ensure_future(self._end_if_hung(self._watchdog))

    async def _end_if_hung(self, watchdog: Watchdog) -> None:
        reason = await watchdog.run()
        self.hung = True
        # The thread that hangs cannot be ended, and must not keep the process from its end.
        exit_without(self.working_threads())
        self.die(reason)

    async def stop(self) -> None:
        if self._health.reason == "stopped":
            return
        self._health = Health(live=False, ready=False, reason="stopped")
        self._gateway.close()
        if self._guard is not None:
            self._guard.cancel()
        await self.unload()

    def die(self, reason: str) -> None:
        """Declare the engine dead: running requests end with an error, and `died()` returns `reason`."""
        self._health = Health(live=False, ready=False, reason=reason)
        if self._guard is not None and not self.hung:
            self._guard.cancel()
        self._gateway.close(engine_dead(reason))
        if self._dead is not None:
            self._dead.set()

    def health(self) -> Health:
        if self._watchdog is not None and self._watchdog.suspicion and self._health.ready:
            return Health(live=True, ready=False, reason=self._watchdog.suspicion, hung=True)
        return self._health

    def pool_facts(self) -> PoolFacts:
        return PoolFacts(in_flight=self._gateway.work.running)

    @property
    def hangs(self) -> int:
        return 0 if self._watchdog is None else self._watchdog.hangs

    async def died(self) -> str:
        if self._dead is None:
            self._dead = asyncio.Event()
        await self._dead.wait()
        return self._health.reason


class _WatchedTokens:
    """An engine in this process as its watchdog sees it."""

    probed = ""

    def __init__(self, engine: TokenEngine) -> None:
        self._engine = engine
        self.name = engine.name

    def awaited(self) -> int:
        return self._engine._gateway.work.running

    def progress(self) -> object:
        return (self._engine._gateway.work.sent, self._engine.steps())

    async def counters(self) -> object:
        return None

    async def probe(self) -> bool:
        return True  # It would be this process that answers.

    async def canary(self) -> bool:
        engine = self._engine
        if CHAT_COMPLETIONS not in {route.path for route in engine.routes}:
            await engine.embed([engine.tokenize("1")])
            return True
        async with aclosing(engine.generate_tokens(TokenRequest(engine.tokenize("1"), max_tokens=1))) as tokens:
            await anext(tokens, None)
        return True

    def activity(self) -> Activity | None:
        return self._engine.activity()
