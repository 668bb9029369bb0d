"""The upstream engine: servers elsewhere, started by others, that are checked and asked as one."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import msgspec

from engineroom.asgi import send_body
from engineroom.engine import ASSUMED, MODELS, Engine, Health, Metric, Route, exposition
from engineroom.errors import EngineStartError, Problem, SettingsError
from engineroom.openai.gateway import Gateway
from engineroom.openai.limits import RequestLimits
from engineroom.openai.model_list import LIST
from engineroom.openai.routes import (
    CHAT_COMPLETIONS,
    COMPLETIONS,
    COUNT_TOKENS,
    EMBEDDINGS,
    MESSAGES,
    RERANK,
    RESPONSES,
)
from engineroom.pool_load import PoolFacts
from engineroom.runpod_account import RunPodAccount
from engineroom.settings import WorkerSettings

from .metric_names import METRIC_NAMES
from .settings import UpstreamSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

    from engineroom.asgi import Receive, Scope, Send
    from engineroom.settings import Environment, SettingsGroup

    from .balancer import Balancer
    from .deployments import FollowedDeployments
    from .server import UpstreamServer

_POLL_S = 0.5
_LOOKS = 10
"""Polls of a start from one look for the deployments to the next."""
_LISTED = 300
"""Characters of a list of models in an error."""
_STATELESS = (
    "/v1/audio/speech",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    CHAT_COMPLETIONS,
    COMPLETIONS,
    EMBEDDINGS,
    "/v1/images/generations",
    MESSAGES,
    COUNT_TOKENS,
    "/v1/moderations",
    RERANK,
    RESPONSES,
    "/v1/score",
)
"""Routes that any of the servers can answer as well as another; none where one server would remember something."""


class UpstreamEngine(Engine):
    """Servers elsewhere, seen as one engine.

    It never dies, since a server elsewhere may come back: without any server that can be asked the engine is live and
    not ready, and ready again once there is one.
    """

    name = "upstream"
    summary = "Servers that run elsewhere: any OpenAI-compatible URL, or several with failover."
    metric_names = METRIC_NAMES
    capabilities = ASSUMED

    def __init__(self, worker: WorkerSettings, settings: UpstreamSettings, account: RunPodAccount) -> None:
        self._worker = worker
        self._settings = settings
        self._account = account
        self._started = False
        self._end = ""
        self._tasks: list[asyncio.Task[None]] = []
        self._servers: list[UpstreamServer] = []
        self._deployments: FollowedDeployments | None = None
        self._balancer: Balancer | None = None
        self.app = self._gateway = Gateway(
            self, self._answer, worker.max_body, worker.request_timeout, limits=RequestLimits.of(worker)
        )

    @classmethod
    def settings(cls, env: Environment) -> tuple[SettingsGroup, ...]:
        return (UpstreamSettings, RunPodAccount)

    @classmethod
    def configure(cls, worker: WorkerSettings, env: Environment) -> Self:
        settings = UpstreamSettings.load(env)
        account = RunPodAccount.load(env)
        if not settings.upstream_urls and not settings.upstream_runpod:
            message = "must name at least one server, as http://host:8000/v1, or UPSTREAM_RUNPOD a deployment on RunPod"
            raise SettingsError([Problem("UPSTREAM_URLS", message)])
        if settings.upstream_runpod:
            account.headers  # noqa: B018 - it raises where there is no key.
        if (
            settings.upstream_urls
            and not settings.upstream_check
            and not (worker.model_name or worker.served_model_name)
        ):
            raise SettingsError(
                [
                    Problem(
                        "MODEL_NAME",
                        "is required with UPSTREAM_CHECK=0, because the servers are not asked for their models",
                    )
                ]
            )
        if settings.upstream_runpod and len(settings.keys) > 1:
            raise SettingsError([Problem("UPSTREAM_API_KEY", "must be one key where UPSTREAM_RUNPOD is set")])
        if len(settings.keys) not in (0, 1, len(settings.upstream_urls)):
            raise SettingsError(
                [
                    Problem(
                        "UPSTREAM_API_KEY", "must be one key, or as many as UPSTREAM_URLS has servers, in their order"
                    )
                ]
            )
        return cls(worker, settings, account)

    @property
    def models(self) -> tuple[str, ...]:
        configured = self._worker.served_model_name or (self._worker.model_name,)
        listed = (model for server in self._servers for model in server.listed)
        return tuple(dict.fromkeys(name for name in (*configured, *listed) if name))

    @property
    def routes(self) -> frozenset[Route]:
        return MODELS | {Route("POST", path) for path in _STATELESS}

    async def start(self) -> None:
        # The settings are checked without an HTTP client.
        from .balancer import Balancer
        from .server import UpstreamServer

        urls = self._settings.upstream_urls
        headers = [{"Authorization": f"Bearer {key}"} for key in self._settings.keys] or [{}]
        if len(headers) == 1:
            headers *= len(urls)
        model = self._worker.model_name
        renamed = dict.fromkeys(self._worker.served_model_name, model) if model else {}
        interval = self._settings.upstream_check
        self._servers += [
            UpstreamServer(url, own, checked=bool(interval), renamed=renamed)
            for url, own in zip(urls, headers, strict=True)
        ]
        self._balancer = Balancer(self._servers)
        if self._settings.upstream_runpod:
            await self._look_for_deployments(renamed)
        if interval or self._deployments is not None:
            await self._first_usable()
        if interval:
            self._tasks.append(asyncio.ensure_future(self._keep_checking(interval)))
        if self._deployments is not None:
            self._tasks.append(asyncio.ensure_future(self._deployments.follow()))
        self._started = True

    async def _look_for_deployments(self, renamed: Mapping[str, str]) -> None:
        from .deployments import FollowedDeployments

        self._deployments = FollowedDeployments(
            self._account,
            self._settings.upstream_runpod,
            self._servers,
            "".join(self._settings.keys),
            checked=bool(self._settings.upstream_check),
            renamed=renamed,
        )
        await self._deployments.look()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The list of models is our own; every other request goes to a server, once the engine is ready."""
        if scope["path"] != LIST:
            assert self._balancer is not None
            await self._balancer(scope, receive, send)
            return
        models = [
            {"id": model, "object": "model", "created": int(time.time()), "owned_by": self.name}
            for model in self.models
        ]
        await send_body(send, 200, msgspec.json.encode({"object": "list", "data": models}), b"application/json")

    async def _first_usable(self) -> None:
        deadline = asyncio.get_running_loop().time() + self._worker.start_timeout
        looks = 0
        while True:
            await asyncio.gather(*(server.check() for server in self._servers))
            if any(server.usable for server in self._servers):
                self._check_model()
                return
            hopeless = self._deployments is None or self._deployments.hopeless
            if hopeless and all(server.misconfigured for server in self._servers):
                raise self._failed(f"no server can be used: {self._reasons()}")
            if asyncio.get_running_loop().time() >= deadline:
                raise self._failed(f"no server could be used within START_TIMEOUT: {self._reasons()}")
            await asyncio.sleep(_POLL_S)
            looks += 1
            if self._deployments is not None and looks % _LOOKS == 0:
                await self._deployments.look()

    def _check_model(self) -> None:
        """Raises EngineStartError where no server has the model that clients are to be served."""
        model = self._worker.model_name
        usable = [server for server in self._servers if server.usable]
        if model is None or any(server.has(model) for server in usable):
            return
        names = ", ".join(dict.fromkeys(name for server in usable for name in server.models))
        listed = names if len(names) <= _LISTED else f"{names[:_LISTED]}…"
        where = " and ".join(server.name for server in usable)
        raise self._failed(f"MODEL_NAME={model} is none of the models of {where}, which has: {listed}")

    def _reasons(self) -> str:
        reasons = [f"{server.name}: {server.reason}" for server in self._servers]
        if self._deployments is not None:
            reasons += dict.fromkeys(map(str, self._deployments.reasons.values()))
        return "; ".join(reasons)

    def _failed(self, reason: str) -> EngineStartError:
        self._end = reason
        return EngineStartError(reason)

    async def _keep_checking(self, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            await asyncio.gather(*(server.check() for server in self._servers))

    async def stop(self) -> None:
        self._end = self._end or "stopped"
        self._gateway.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._deployments is not None:
            await self._deployments.close()
        for server in self._servers:
            await server.close()

    def health(self) -> Health:
        if self._end:
            return Health(live=False, ready=False, reason=self._end)
        if not self._started:
            return Health(live=True, ready=False, reason="loading")
        if any(server.answers for server in self._servers):
            return Health(live=True, ready=True, reason="ready")
        return Health(live=True, ready=False, reason="no server is available now")

    async def died(self) -> str:
        never: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        return await never

    def pool_facts(self) -> PoolFacts:
        return PoolFacts(in_flight=self._gateway.work.running)

    async def metrics(self) -> str:
        labels = {server: f'server="{server.name}"' for server in self._servers}
        running = {labels[server]: server.running for server in self._servers}
        usable = {labels[server]: int(server.usable) for server in self._servers}
        return exposition(
            [
                Metric("engineroom_upstream_running", "gauge", "Requests that a server is working on.", running),
                Metric("engineroom_upstream_usable", "gauge", "1 if the server is available.", usable),
            ]
        )
