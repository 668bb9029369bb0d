"""The upstream engine: its servers, found healthy or not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engineroom.engine import ASSUMED, MODELS, Engine, Health, Route
from engineroom.errors import EngineStartError, Problem, SettingsError
from engineroom.openai.gateway import Gateway
from engineroom.settings import WorkerSettings

from .settings import UpstreamSettings

if TYPE_CHECKING:
    from typing_extensions import Self

    from engineroom.settings import Environment, SettingsGroup

    from .target import Target

_POLL_S = 0.5
_STATELESS = (
    *("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages"),
    *("/v1/messages/count_tokens", "/v1/rerank", "/v1/score", "/v1/moderations", "/v1/images/generations"),
    *("/v1/audio/speech", "/v1/audio/transcriptions", "/v1/audio/translations"),
)
"""What any of the servers can answer as well as another, each as far as it can; nothing that one of them remembers."""


class UpstreamEngine(Engine):
    """Servers elsewhere, seen as one engine.

    It never dies, since what is elsewhere may come back: without any server that can be asked it is live and not
    ready, and ready again once there is one.
    """

    name = "upstream"
    summary = "A server that is elsewhere: any OpenAI-compatible URL, or several with failover."
    capabilities = ASSUMED

    def __init__(self, worker: WorkerSettings, settings: UpstreamSettings) -> None:
        from .balancer import Balancer

        self._worker = worker
        self._settings = settings
        self._started = False
        self._over = ""
        self._checking: asyncio.Task[None] | None = None
        self.targets: tuple[Target, ...] = ()
        self.app = self._gateway = Gateway(self, Balancer(self), worker.max_body, worker.request_timeout)

    @classmethod
    def settings(cls, env: Environment) -> tuple[SettingsGroup, ...]:
        return (UpstreamSettings,)

    @classmethod
    def configure(cls, env: Environment) -> Self:
        worker, settings = WorkerSettings.load(env), UpstreamSettings.load(env)
        if not settings.upstream_urls:
            raise SettingsError([Problem("UPSTREAM_URLS", "must name at least one server, as http://host:8000/v1")])
        if not settings.upstream_check and not (worker.model_name or worker.served_model_name):
            raise SettingsError([Problem("MODEL_NAME", "is needed where UPSTREAM_CHECK=0: nobody asks for the models")])
        if len(settings.keys) not in (0, 1, len(settings.upstream_urls)):
            raise SettingsError(
                [
                    Problem(
                        "UPSTREAM_API_KEY", "must be one key, or as many as UPSTREAM_URLS has servers, in their order"
                    )
                ]
            )
        return cls(worker, settings)

    @property
    def models(self) -> tuple[str, ...]:
        named = self._worker.served_model_name or (self._worker.model_name,)
        found = (model for target in self.targets for model in target.models)
        return tuple(dict.fromkeys(name for name in (*named, *found) if name))

    @property
    def routes(self) -> frozenset[Route]:
        return MODELS | {Route("POST", path) for path in _STATELESS}

    async def start(self) -> None:
        from .target import Target

        urls, keys, every = self._settings.upstream_urls, self._settings.keys, self._settings.upstream_check
        headers = [{"Authorization": f"Bearer {key}"} for key in keys] or [{}]
        if len(headers) == 1:
            headers *= len(urls)
        own = self._worker.model_name
        renamed = dict.fromkeys(self._worker.served_model_name, own) if own else {}
        self.targets = tuple(Target(url, head, bool(every), renamed) for url, head in zip(urls, headers, strict=True))
        if every:
            await self._first_answer()
            self._checking = asyncio.ensure_future(self._keep_checking(every))
        self._started = True

    async def _first_answer(self) -> None:
        deadline = asyncio.get_running_loop().time() + self._worker.start_timeout
        while True:
            await asyncio.gather(*(target.check() for target in self.targets))
            if any(target.usable for target in self.targets):
                return
            if asyncio.get_running_loop().time() >= deadline:
                self._over = "; ".join(f"{target.name}: {target.reason}" for target in self.targets)
                raise EngineStartError(f"no server could be used within START_TIMEOUT: {self._over}")
            await asyncio.sleep(_POLL_S)

    async def _keep_checking(self, every: float) -> None:
        while True:
            await asyncio.sleep(every)
            await asyncio.gather(*(target.check() for target in self.targets))

    async def stop(self) -> None:
        self._over = self._over or "stopped"
        self._gateway.close()
        if self._checking is not None:
            self._checking.cancel()
            await asyncio.gather(self._checking, return_exceptions=True)
        for target in self.targets:
            await target.close()

    def health(self) -> Health:
        if self._over:
            return Health(live=False, ready=False, reason=self._over)
        if not self._started:
            return Health(live=True, ready=False, reason="loading")
        if any(target.usable for target in self.targets):
            return Health(live=True, ready=True, reason="ready")
        return Health(live=True, ready=False, reason="no server can be asked now")

    async def died(self) -> str:
        never: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        return await never

    async def metrics(self) -> str:
        lines = []
        for name, what, value in (
            ("running", "Requests that are with a server.", lambda target: target.running),
            ("usable", "1 for a server that requests can go to.", lambda target: int(target.usable)),
        ):
            lines += [f"# HELP engineroom_upstream_{name} {what}", f"# TYPE engineroom_upstream_{name} gauge"]
            lines += [f'engineroom_upstream_{name}{{server="{t.name}"}} {value(t)}' for t in self.targets]
        return "\n".join(lines) + "\n"
