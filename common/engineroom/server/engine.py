"""ServerEngine: an engine that is a server process of its own, on a Unix socket or a loopback port."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import shutil
import signal
import tempfile
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..engine import Engine, Health, exposition
from ..errors import APIError, EngineStartError, engine_dead
from ..models.files import ModelFiles
from ..openai.body import requested_model
from ..openai.routes import CHAT_COMPLETIONS, COMPLETIONS, EMBEDDINGS, RERANK
from ..pool_load import PoolFacts
from ..process.child import Process
from ..process.secrets import without_secrets
from ..timeouts import timeout
from ..watchdog import Activity, Watchdog
from .address import METRICS_S, Address, free_port
from .diagnostics import Diagnostics, Situation, diagnose, safer_settings

if TYPE_CHECKING:
    from ..adapters.adapters import Adapters
    from ..asgi.types import ASGIApp, Receive, Scope, Send
    from ..settings.worker import WorkerSettings
    from .address import Address
    from .connection import Upstream
    from .proxy import Proxy

logger = logging.getLogger(__name__)

_POLL_S = 0.05
_CANARIES: Mapping[str, Mapping[str, Any]] = {
    CHAT_COMPLETIONS: {"messages": [{"role": "user", "content": "1"}], "max_tokens": 1},
    COMPLETIONS: {"prompt": "1", "max_tokens": 1},
    EMBEDDINGS: {"input": "1"},
    RERANK: {"query": "1", "documents": ["1"]},
}
"""The least that a server can be asked to do, by what it serves."""
_LAST_S = 60


class ServerEngine(Engine):
    """Base of engines that are server processes.

    A subclass implements `settings`, `configure`, `routes` and `command`, and overrides what is different about its
    server: `environ`, `prepare`, `normalise_error`, `diagnostics`, `before_start`, `on_ready`.

    The process runs under a reaper (`engineroom.process.reaper`) in a session of its own. Its output is logged as
    `engine.<name>`. Requests are sent over kept-alive connections, and answers are streamed back as they come.

    Args:
        files: the model and where its files are, for an engine that looks for them itself; MODEL_NAME as it is, and
            nothing on this machine, by default.
    """

    transport: ClassVar[Literal["unix", "tcp"]] = "tcp"
    """How its server listens."""

    ready_path: ClassVar[str] = "/health"
    """The path that answers 200 once requests are served."""

    access_log: ClassVar[str] = '"GET {path} HTTP/'
    """How its log notes a request for `{path}`: notes of our own health checks are left out."""

    progress_metrics: ClassVar[tuple[str, ...]] = ()
    """Counters among its metrics that move with each of its steps, also amid a long prompt: while they do, it works.
    Where it has none, it works as long as its processes take the processor."""

    generating_processes: ClassVar[str] = ""
    """A regular expression for the command lines of those of its processes that generate, where others only receive
    requests: these are busy with requests also while those hang."""

    metrics_path: str | None = "/metrics"
    """Where its metrics are, in Prometheus' text format: a path, or a URL for another port; None if it has none."""

    remedy: ClassVar[str] = ""
    """What to do if its command is not found."""

    diagnostics: ClassVar[Diagnostics] = Diagnostics()
    """How its log's lines begin, and the causes of its failures that are known. Those of the hub, and those that any
    program may have, are known already."""

    secrets: ClassVar[Sequence[str]] = ()
    """Names, or patterns of them (`AWS_*`), of the variables with secrets that its process needs. No others reach it:
    clients' keys, RunPod's and passwords are none of its business. It gets all variables that hold no secret."""

    death_lag: ClassVar[float] = 5.0  # Servers answer for a part of them that has died, and then shut down in order.

    keep_alive: ClassVar[float] = 60
    """Seconds that an idle connection is kept, unless the server closes it first. A request that meets that moment is
    sent once more. 0 opens a new one for every request."""

    keep_limit: int | None = None
    """Connections up to which an idle one is kept, for a server that has a thread for each that is open; None for a
    server that may have any number."""

    follows: str = ""
    """Why its process takes no requests, for people, where it computes for a server on another machine: then nothing is
    asked of the process, and the engine is live and never ready. Empty for a server."""

    sleep_paths: tuple[str, str] | None = None
    """Where its server is told to give its memory back, and to take it again; None where it cannot."""

    lora: Adapters | None = None
    """The LoRA adapters that clients may ask for by name, for a server that loads them at run time."""

    idle_timeout: float | None = None
    """Seconds that its server may be silent during a request before that ends with a 504; None for no limit."""

    def __init__(self, worker: WorkerSettings, files: ModelFiles | None = None) -> None:
        self.worker = worker
        self.files = files or ModelFiles(worker.model_name or "", None)
        self.directory: Path | None = None
        self._health = Health(live=True, ready=False, reason="loading")
        self._server_address: Address | None = None
        self._log_s: float | None = None
        self._prepare_process()

    def _prepare_process(self) -> None:
        """Make what no other process can have: `share` leaves it out."""
        from ..openai.gateway import Gateway
        from ..openai.limits import RequestLimits

        shared = set(vars(self))
        self._process: Process | None = None
        self._upstream: Upstream | None = None
        self._watch: asyncio.Task[None] | None = None
        self._watchdog: Watchdog | None = None
        self._guard: asyncio.Task[None] | None = None
        self._hang = ""
        self._gone: asyncio.Future[str] | None = None
        self._proxy: Proxy | None = None
        worker = self.worker
        self.app = self._gateway = Gateway(
            self, self._forward, worker.max_body, worker.request_timeout, limits=RequestLimits.of(worker)
        )
        self._of_this_process = set(vars(self)) - shared | {"_of_this_process", "timeline"}

    # What a subclass gives or overrides.

    @abstractmethod
    def command(self, address: Address) -> Sequence[str]:
        """The command that starts the server on `address`. Secrets belong in `environ`, not here."""

    def environ(self) -> Mapping[str, str]:
        """The server's whole environment; this process's own by default. Of its secrets only `secrets` reach it."""
        return os.environ

    def leftovers(self) -> Sequence[str]:
        """Glob patterns of files and folders that its server may leave behind, outside `directory`."""
        return ()

    def headers(self) -> Mapping[str, str]:
        """Headers for every request to the server, e.g. its API key."""
        return {}

    def make_proxy(self) -> Proxy:
        """What forwards requests; override for a subclass of it."""
        from .proxy import Proxy

        return Proxy(self)

    def prepare(self, path: str, json: dict[str, Any]) -> dict[str, Any] | None:
        """The request to send instead of `json`, or None to send it unchanged.

        Raises:
            APIError: if the engine would silently ignore a part of the request, or mishandle it.
        """
        return None

    def normalise_error(self, status: int, body: bytes) -> APIError:
        """The engine's own error answer as one of OpenAI's."""
        from ..openai.upstream_errors import from_upstream

        return from_upstream(status, body)

    def log(self) -> list[str]:
        """The last lines that its server wrote, once it serves those of its last minute; override where it also writes
        them to files."""
        return self._process.last_lines(self._log_s) if self._process else []

    def variables(self) -> Mapping[str, str]:
        """The settings in force that sentences of `diagnostics` name; MODEL_NAME by default."""
        return {"MODEL_NAME": self.worker.model_name or self.files.name}

    def situation(self) -> Situation:
        """What `diagnose` has to know beside the log."""
        repository = None if self.files.folder else self.files.name
        return Situation(self.variables(), repository or None, token=bool(self.environ().get("HF_TOKEN")))

    def explain_exit(self, returncode: int, log: Sequence[str]) -> str | None:
        """Why the process ended, where its exit code or log tell; None where they do not.

        By default what `diagnostics` make of the log; nothing where it was killed, since what is killed writes no last
        line: what stands there is about something else.
        """
        if returncode == -signal.SIGKILL:
            return None
        return diagnose(log, self.diagnostics, self.situation())

    def safer(self, log: Sequence[str]) -> Mapping[str, str]:
        """The settings with which a start that ran out of memory may succeed; by default what `diagnostics` say."""
        return safer_settings(log, self.diagnostics, self.situation())

    async def before_start(self) -> None:
        """Do what must be done before the process is spawned. Raises EngineStartError."""

    async def on_ready(self, upstream: Upstream) -> None:
        """Look at the running server, e.g. which routes its model has. Raises EngineStartError."""

    def canary(self, path: str, json: dict[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """What the watchdog POSTs to see whether the server works, and where: a small request that `prepare` has made
        ready. Override where requests go to other paths of the server than clients'."""
        return path, json

    async def tell(self, path: str, json: Mapping[str, Any]) -> bytes:
        """POST to the server what is no client's request, e.g. that it load an adapter; the body of its answer.

        Raises:
            APIError: its own error, normalised, or that it is gone.
        """
        from ..http_client.errors import FAILURES

        try:
            status, body = await self.upstream.post(path, json)
        except FAILURES as error:
            raise await self.lost(error) from error
        if status >= 400:
            raise self.normalise_error(status, body)
        return body

    # The contract.

    @property
    def models(self) -> tuple[str, ...]:
        return self.worker.served_model_name or ((self.files.name,) if self.files.name else ())

    def knows_model(self, name: str) -> bool:
        return super().knows_model(name) or (self.lora is not None and self.lora.sources.knows(name))

    async def find_model(self, name: str) -> bool:
        return self.lora is not None and await self.lora.sources.exists(name)

    async def adapters(self) -> tuple[str, ...]:
        return () if self.lora is None else await self.lora.sources.names()

    @property
    def source(self) -> str:
        """What the server is told to load: a folder or file where the model is there already, else the repository."""
        return str(self.files.folder or self.files.name)

    async def start(self) -> None:
        self._gone = asyncio.get_running_loop().create_future()
        try:
            async with timeout(self.worker.start_timeout):
                await self._start()
        except asyncio.TimeoutError:
            raise self._failed(
                f"{self.name} was not ready after {self.worker.start_timeout:g} s; raise START_TIMEOUT to allow more"
            ) from None
        except EngineStartError as error:
            raise self._failed(str(error), error.safer) from error

    async def _start(self) -> None:
        await self.before_start()
        self.timeline.mark("model resolved")
        self.directory = Path(tempfile.mkdtemp(prefix="engineroom-"))
        self._server_address = address = self._address(self.directory)
        self._process = await Process.spawn(
            self.command(address),
            name=self.name,
            environ=without_secrets(self.environ(), self.secrets),
            grace=self.worker.stop_timeout,
            remove=self.leftovers(),
            remove_if_stopped=[str(self.directory)],
            log=self.worker.engine_logs,
            log_format=self.diagnostics.log_format,
            ignored=self.access_log.format(path=self.ready_path),
        )
        self.timeline.mark("engine spawned")
        if self.follows:
            self._health = Health(live=True, ready=False, reason=self.follows)
            self._watch = asyncio.ensure_future(self._notice_death(self._process))
            return
        # The HTTP client and the proxy are imported only now, and in a thread: the engine's process has the better part
        # of a second to go, and the door answers meanwhile.
        self._proxy, upstream_class = await asyncio.to_thread(lambda: (self.make_proxy(), _upstream_class()))
        self._upstream = self._connection(upstream_class, address)
        await self._until_ready(self._process, self._upstream)
        await self.on_ready(self._upstream)
        self.timeline.mark("engine ready")
        self._health = Health(live=True, ready=True, reason="ready")
        # Of a death only what was written just before it can be the reason.
        self._log_s = _LAST_S
        self._watch = asyncio.ensure_future(self._notice_death(self._process))
        self._watchdog = Watchdog(_WatchedServer(self, self._process), self.worker.engine_hang_timeout)
        self._guard = asyncio.ensure_future(self._end_if_hung(self._watchdog, self._process))

    def _address(self, directory: Path) -> Address:
        if self.transport == "unix":
            return Address(str(directory / "engine.sock"), None)
        return Address(None, free_port())

    def _connection(self, upstream_class: type[Upstream], address: Address) -> Upstream:
        return upstream_class.at(
            address,
            self.headers(),
            self.keep_alive,
            keep_limit=self.keep_limit,
            idle_timeout=self.idle_timeout,
        )

    async def _until_ready(self, process: Process, upstream: Upstream) -> None:
        ended = asyncio.ensure_future(process.wait())
        try:
            while not await upstream.answers(self.ready_path):
                await asyncio.wait({ended}, timeout=_POLL_S)
                if ended.done():
                    log = self.log()
                    raise EngineStartError(self._why_not_started(process), log, safer=self.safer(log))
        finally:
            ended.cancel()

    def _why_not_started(self, process: Process) -> str:
        if process.not_found:
            what = process.tail[-1] if process.tail else "command not found"
            return f"{self.name} could not be started: {what}" + (f"; {self.remedy}" if self.remedy else "")
        code = process.returncode
        assert code is not None
        cause = self.explain_exit(code, self.log())
        return f"{self.name} did not start: {cause}" if cause else self._why_ended(code, None)

    def _why(self, process: Process) -> str:
        code = process.returncode
        assert code is not None
        return self._why_ended(code, self.explain_exit(code, self.log()))

    def _why_ended(self, code: int, cause: str | None) -> str:
        if cause is None and code == -signal.SIGKILL:
            cause = "the machine may have run out of memory"
        how = f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
        return f"{self.name} {how}" + (f": {cause}" if cause else "")

    def _failed(self, reason: str, safer: Mapping[str, str] | None = None) -> EngineStartError:
        self._health = Health(live=False, ready=False, reason=reason)
        return EngineStartError(reason, self.log(), logged=self.worker.engine_logs, safer=safer)

    async def _end_if_hung(self, watchdog: Watchdog, process: Process) -> None:
        """Once its watchdog takes it for dead, it is: what still runs of it is killed, and seen to have ended."""
        self._hang = reason = await watchdog.run()
        self._health = Health(live=False, ready=False, reason=reason)
        self._gateway.close(engine_dead(reason))
        process.kill()

    async def _notice_death(self, process: Process) -> None:
        await process.wait()
        if self._guard is not None:
            self._guard.cancel()
        reason = self._hang or self._why(process)
        self._health = Health(live=False, ready=False, reason=reason)
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(reason)
        # Those whose connection has not broken yet are told the same.
        self._gateway.close(engine_dead(reason))

    async def stop(self) -> None:
        if self._health.live:
            self._health = Health(live=False, ready=False, reason="stopped")
        self._gateway.close()
        for task in (self._watch, self._guard):
            if task is not None:
                task.cancel()
        self._watch = self._guard = None
        if self.lora is not None:
            await self.lora.close()
        if self._upstream is not None:
            await self._upstream.close()
        if self._process is not None:
            await self._process.stop()
        if self.directory is not None:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory = None

    def share(self) -> bytes | None:
        """Itself, without what belongs to this process. Adapters are loaded at run time in one process only."""
        return None if self.lora is not None else pickle.dumps(self)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in self._of_this_process}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)
        self._prepare_process()

    def join(self) -> ASGIApp:
        """Where `share` came from another process: an app that sends requests, which are checked already, to the server
        that runs there. `leave` ends it."""
        assert self._server_address is not None
        # Whoever has started the server says why it died, soon after a connection to it broke: `lost` waits for that.
        self._gone = asyncio.get_running_loop().create_future()
        self._proxy = self.make_proxy()
        self._upstream = self._connection(_upstream_class(), self._server_address)
        return self._forward

    async def leave(self) -> None:
        """Close the connections that `join` has opened. The server goes on."""
        if self._upstream is not None:
            await self._upstream.close()

    @property
    def can_sleep(self) -> bool:
        return self.sleep_paths is not None

    async def sleep(self) -> None:
        assert self.sleep_paths is not None
        self._health = Health(live=True, ready=False, reason="asleep")
        await self.tell(self.sleep_paths[0], {})

    async def wake(self) -> None:
        assert self.sleep_paths is not None
        await self.tell(self.sleep_paths[1], {})
        if self._health.live:
            self._health = Health(live=True, ready=True, reason="ready")

    def health(self) -> Health:
        if self._watchdog is not None and self._watchdog.suspicion and self._health.ready:
            return Health(live=True, ready=False, reason=self._watchdog.suspicion, hung=True)
        return self._health

    @property
    def hangs(self) -> int:
        return 0 if self._watchdog is None else self._watchdog.hangs

    async def died(self) -> str:
        if self._gone is None:
            self._gone = asyncio.get_running_loop().create_future()
        return await asyncio.shield(self._gone)

    def memory_held(self) -> int | None:
        return None if self._process is None else self._process.memory()

    def pool_facts(self) -> PoolFacts:
        adapters = None if self.lora is None else self.lora.occupancy()
        return PoolFacts(in_flight=self._gateway.work.running, adapters=adapters)

    async def metrics(self) -> str:
        if self.metrics_path is None or self._upstream is None or not self._health.live:
            return ""
        if not self.health().ready:
            return f"# {self.name}'s own metrics are left out: it is {self.health().reason}\n"
        text = await self._upstream.text(self.metrics_path)
        text = text or f"# {self.name}'s own metrics are left out: it did not give them within {METRICS_S:g} s\n"
        return text if self.lora is None else text + exposition(self.lora.metrics())

    async def _forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The gateway lets requests through only once the engine is ready."""
        assert self._proxy is not None
        name = None if self.lora is None else requested_model(scope)
        if self.lora is None or name is None or name in self.models:
            await self._proxy(scope, receive, send)
        else:
            async with self.lora.use(name):
                await self._proxy(scope, receive, send)

    # For the proxy.

    @property
    def upstream(self) -> Upstream:
        """The connection to the server; only once it is ready."""
        assert self._upstream is not None
        return self._upstream

    async def lost(self, error: Exception) -> APIError:
        """What a client is told when the connection to the server broke: why it died, if it did."""
        if self._gone is not None:
            await asyncio.wait({self._gone}, timeout=1)
        if self._health.live and isinstance(error, asyncio.TimeoutError):
            return APIError("The engine did not answer in time.", status=504, code="timeout")
        if self._health.live:
            logger.warning("%s broke a connection: %r", self.name, error)
            return APIError("The engine stopped in the middle of its answer.", status=502, code="engine_error")
        return engine_dead(self._health.reason)


class _WatchedServer:
    """A server process as its watchdog sees it."""

    def __init__(self, engine: ServerEngine, process: Process) -> None:
        self._engine = engine
        self._process = process
        self.name = engine.name
        self.probed = f"GET {engine.ready_path}"

    def awaited(self) -> int:
        return self._engine._gateway.work.running

    def progress(self) -> object:
        return self._engine._gateway.work.sent

    async def counters(self) -> object:
        path = self._engine.metrics_path
        if path is None or not self._engine.progress_metrics:
            return None
        text = await self._engine.upstream.text(path)
        return tuple(line for line in text.splitlines() if line.startswith(self._engine.progress_metrics)) or None

    async def probe(self) -> bool:
        return await self._engine.upstream.answers(self._engine.ready_path)

    async def canary(self) -> bool:
        model = self._engine.models[0] if self._engine.models else ""
        paths = {route.path for route in self._engine.routes}
        for path, body in _CANARIES.items():
            if path in paths:
                request = {"model": model, **body}
                prepared = self._engine.prepare(path, request) or request
                return await self._engine.upstream.is_served(*self._engine.canary(path, prepared))
        return True

    def activity(self) -> Activity | None:
        return self._process.activity(self._engine.generating_processes)


def _upstream_class() -> type[Upstream]:
    from .connection import Upstream

    return Upstream
