"""The contract: what an engine and its caller owe each other.

An engine serves one model: it is an ASGI app that speaks OpenAI's HTTP API, and a lifecycle. Callers (the doors)
know only what this module says about an engine; an engine knows nothing about its callers.

Lifecycle, each arrow taken at most once::

    configure(worker, env) ──> start() ──> [serving] ──> stop()
             │                    │            │
      SettingsError        EngineStartError  died() returns why

What the caller promises
    * `configure` is called before any event loop runs, or beside it in a thread; `start`, `stop`, `died` and `app` in
      one and the same loop.
    * `start` is awaited once. `stop` is always awaited after it, even if it failed or was cancelled.
    * The app may be called at any time after `configure`. The caller relays `http.disconnect` as soon as it knows.
    * A client that reads slowly makes `send` slow: nothing between client and engine buffers without bound.

What the engine promises
    * `configure` reads every setting and raises `SettingsError` that names everything wrong, within a second and
      without importing the engine's library.
    * `start` returns once requests are served, or raises `EngineStartError` with a reason that a person can act on.
      It may be cancelled at any point.
    * `stop` is idempotent and safe after a failed, cancelled or missing `start`. Afterwards no process, socket,
      file or shared memory of the engine is left.
    * The app answers at any time: with a 503 and `Retry-After` while loading, a 503 when dead, and OpenAI's 404 for
      a route that it does not serve. It never raises because of what a client sent.
    * `capabilities` says what a request may ask for, for certain once `start` has returned. The gateway in front of
      every engine refuses the rest with a 400 that names the field.
    * `http.disconnect` aborts the generation, so that it costs nothing more; so does cancelling the call.
    * `health` never blocks. `live` is true until the engine is dead for good, and false from then on. `ready` goes
      false -> true -> false. It may go false and true again, `live` all the while: as long as a server that runs
      elsewhere is away, and as long as an engine does not respond.
    * An engine that hangs is not ready within ten seconds, and dead after ENGINE_HANG_TIMEOUT; `hangs` counts them.

How a generation ends, and who sees what:

    =====================  ==============================  ===================================
    What happens           The engine                      The client
    =====================  ==============================  ===================================
    finished               frees the request               last event, `[DONE]`
    client disconnects     aborts, frees within a second   nothing
    caller cancels         aborts, frees within a second   the caller's business
    engine error           frees the request               OpenAI error body or SSE error event
    engine process dies    `died()` returns                the same, with what is known
    `stop()`               ends what is running            the same
    =====================  ==============================  ===================================

The base classes keep most of these promises: derive from `ServerEngine` for an engine that is a server process,
from `TokenEngine` for one that lives in this process, and run `engineroom.testing`'s conformance suite.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypeAlias

from .asgi.types import ASGIApp
from .memory import MemoryProfile
from .pool_load import PoolFacts, Scrape, read_load
from .timeline import Timeline

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

    from .models.formats import ModelFormat
    from .settings.base import SettingsGroup
    from .settings.environment import Environment
    from .settings.other_names import OtherName, UsualSetting
    from .settings.worker import WorkerSettings


class Route(NamedTuple):
    """One HTTP route, e.g. `Route("POST", "/v1/chat/completions")`. The path is literal, or ends in `/*`."""

    method: str
    path: str

    def matches(self, path: str) -> bool:
        """Whether a request's path is this route's, whatever its method."""
        if self.path.endswith("/*"):
            # `..` would lead out of what the route is meant for.
            return path.startswith(self.path[:-1]) and len(path) >= len(self.path) and ".." not in path.split("/")
        return path == self.path


MODELS = frozenset({Route("GET", "/v1/models"), Route("GET", "/v1/models/*")})
"""What every engine serves: it has the list, and one model is found in that for it."""


CHAT = Route("POST", "/v1/chat/completions")
MADE_OF_CHAT = frozenset(
    {
        Route("POST", "/v1/responses"),
        Route("POST", "/v1/responses/*"),
        Route("GET", "/v1/responses/*"),
        Route("DELETE", "/v1/responses/*"),
        Route("POST", "/v1/messages"),
        Route("POST", "/v1/messages/count_tokens"),
    }
)
"""What the core makes of an engine's chat, where the engine has not the route itself."""


Surface: TypeAlias = Literal["chat", "completions", "responses", "messages", "embeddings", "rerank"]
"""An API that clients know by name, among the routes that an engine may serve."""

SURFACE_PATHS: Mapping[Surface, str] = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
    "embeddings": "/v1/embeddings",
    "rerank": "/v1/rerank",
}
"""Where each surface is served."""

ToolUse: TypeAlias = Literal["none", "optional", "forced"]
"""What a model makes of a request's tools: it never sees them; it calls them when it likes, so that `tool_choice` is
`auto` or `none`; it can also be made to call one."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do with a request, beyond answering in text.

    Everything is off until an engine declares it. What a request asks for and the engine does not declare is answered
    with a 400 that names the field, before the engine sees the request: no field is ignored in silence. What is
    declared is tried by the conformance kit.

    An engine declares the most that it can do, as a class attribute. Its instances may have less, by their settings,
    their version or their model: `self.capabilities = self.capabilities.narrow(...)`, at the latest before `start`
    returns.

    surfaces: the APIs that it can serve with the right model. `Engine.routes` says which it serves now. Responses and
        Messages are made of chat where an engine has not got them.
    tools: see `ToolUse`.
    logprobs: `logprobs` of a chat and of a completion, with alternatives.
    several_choices: `n` above 1.
    json_schema: `response_format` is kept: JSON where it asks for an object, and JSON of that schema for a schema.
    images, audio, video, files: parts of that kind in a message's content.
    abort: a disconnect really stops the generation. Without it the generation runs to its end for nobody.
    assumed: nobody knows, as with a server that is elsewhere. Everything is passed on, and the server may refuse.
    reasons: field of this class -> a sentence for clients on why that is missing, and what would help.
    """

    surfaces: frozenset[Surface] = frozenset()
    tools: ToolUse = "none"
    logprobs: bool = False
    several_choices: bool = False
    json_schema: bool = False
    images: bool = False
    audio: bool = False
    video: bool = False
    files: bool = False
    abort: bool = True
    assumed: bool = False
    reasons: Mapping[str, str] = field(default_factory=dict)

    def narrow(self, reason: str = "", **changes: Any) -> Capabilities:
        """These capabilities with some fields changed.

        Args:
            reason: a sentence for clients that ask for one of the changed fields all the same.
            changes: the fields and their new values, e.g. `tools="none"`.
        """
        reasons = {**self.reasons, **dict.fromkeys(changes, reason)} if reason else self.reasons
        return replace(self, **changes, reasons=reasons)

    @property
    def served_surfaces(self) -> frozenset[Surface]:
        """The APIs that clients may speak: the engine's own, and what the core makes of its chat."""
        made: frozenset[Surface] = frozenset({"responses", "messages"})
        return self.surfaces | made if "chat" in self.surfaces else self.surfaces

    def words(self) -> list[str]:
        """What is declared, in words for people, e.g. `["chat", "tools", "logprobs"]`."""
        words: list[str] = [surface for surface in SURFACE_PATHS if surface in self.served_surfaces]
        if self.tools != "none":
            words.append("tools" if self.tools == "forced" else "tools (auto only)")
        names = {"logprobs": "logprobs", "several_choices": "several choices", "json_schema": "JSON schema"}
        names |= {kind: kind for kind in ("images", "audio", "video", "files")}
        return words + [word for name, word in names.items() if getattr(self, name)]


ASSUMED = Capabilities(
    surfaces=frozenset(SURFACE_PATHS),
    tools="forced",
    logprobs=True,
    several_choices=True,
    json_schema=True,
    images=True,
    audio=True,
    video=True,
    files=True,
    assumed=True,
)
"""The capabilities of a server that nobody has asked: all of them, each perhaps refused by the server itself."""


@dataclass(frozen=True, slots=True)
class Health:
    """The state of an engine at one moment.

    live: false once it is dead for good; until then it is, or may become, ready.
    ready: requests are served.
    reason: a short phrase for people: "loading", "ready", "stopping", or why it is not live.
    hung: it was ready, and does not respond now. It may yet, or will be dead.
    """

    live: bool
    ready: bool
    reason: str
    hung: bool = False


@dataclass(frozen=True, slots=True)
class Requirement:
    """Something an engine needs on this machine, and whether it is there.

    remedy: what to type to get it, shown when `met` is false.
    """

    what: str
    met: bool
    remedy: str = ""


Measure: TypeAlias = Literal[
    "requests_running",
    "requests_waiting",
    "requests_by_status",
    "prompt_tokens",
    "completion_tokens",
    "time_to_first_token",
    "inter_token",
    "request_time",
    "queue_time",
    "prefill_time",
    "decode_time",
    "cache_usage",
    "prefix_cache_hits",
    "prefix_cache_misses",
    "prefix_cache_queries",
    "prefix_cache_hit_ratio",
    "preemptions",
]
"""What most servers of models measure of themselves, each under names of its own. Those of requests and `cache_usage`
are gauges, but for `requests_by_status`, a counter with the status as a label; tokens, the prefix cache's tokens (hits,
misses, or what was looked up) and preemptions are counters; the times are histograms; ratios and usage are from 0 to 1,
or in percent."""


class Metric(NamedTuple):
    """One of an engine's own metrics, for `RunningEngine.metrics`.

    values: its value for each set of labels, which are written as Prometheus does (`server="a"`); `""` for no label.
    """

    name: str
    kind: Literal["counter", "gauge"]
    description: str
    values: Mapping[str, float]


def exposition(metrics: Iterable[Metric]) -> str:
    """Metrics in Prometheus' text format."""
    lines = []
    for metric in metrics:
        lines += [f"# HELP {metric.name} {metric.description}", f"# TYPE {metric.name} {metric.kind}"]
        for labels, value in metric.values.items():
            lines.append(f"{metric.name}{{{labels}}} {value}" if labels else f"{metric.name} {value}")
    return "\n".join(lines) + "\n"


def label_value(text: str) -> str:
    """A label's value as Prometheus' text has it between quotes."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class RunningEngine(ABC):
    """What whoever runs an engine needs of it. The module's docstring says what both sides promise.

    An `Engine` is one, and so is what starts one engine after another in place of those that die.
    """

    app: ASGIApp
    """The engine's HTTP API; set once the engine is configured."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The engine's name, which `ENGINE` takes."""

    @functools.cached_property
    def timeline(self) -> Timeline:
        """The phases of its start; the door that runs it adds its own."""
        return Timeline()

    @property
    @abstractmethod
    def models(self) -> tuple[str, ...]:
        """The served model names, the primary one first. Known before `start`."""

    @property
    def served(self) -> str:
        """What it serves, in words for people: the model's primary name, or `a model` where that is not known yet."""
        return self.models[0] if self.models else "a model"

    @property
    @abstractmethod
    def routes(self) -> frozenset[Route]:
        """The routes that it really serves itself. There may be more after `start`."""

    @property
    def served_routes(self) -> frozenset[Route]:
        """The routes that clients may ask for: its own, and those that the core makes of its chat."""
        routes = self.routes
        return routes | MADE_OF_CHAT if CHAT in routes else routes

    @property
    def operator_routes(self) -> frozenset[Route]:
        """Those of `routes` that are for whoever runs the worker, not for its clients: `app` answers them at any time,
        and a door lets them past its limits and says who may ask."""
        return frozenset()

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What a request may ask for, for certain once `start` has returned."""

    @property
    def sampling_params(self) -> frozenset[str]:
        """Sampling parameters it knows beyond OpenAI's own, e.g. `top_k`."""
        return frozenset()

    @property
    def death_lag(self) -> float:
        """Seconds for which it may still answer requests with errors when it is beyond help, before its end is seen."""
        return 0.0

    def knows_model(self, name: str) -> bool:
        """Whether a request for model `name` is passed on, as far as one can say at once: a name in `models`, or a LoRA
        adapter that is there. `find_model` is asked about the others."""
        return name in self.models

    async def find_model(self, name: str) -> bool:
        """Whether a request for a model that `knows_model` does not know is passed on all the same, e.g. for a LoRA
        adapter that was put into its folder a moment ago."""
        return False

    async def adapters(self) -> tuple[str, ...]:
        """The LoRA adapters that clients may ask for by name beside `models`, as far as they can be listed."""
        return ()

    @abstractmethod
    async def start(self) -> None:
        """Start the engine; returns once requests are served.

        Raises:
            EngineStartError: with a reason that a person can act on.
        """

    @abstractmethod
    async def stop(self) -> None:
        """Stop and clean up. Idempotent; safe after a failed start."""

    @abstractmethod
    def health(self) -> Health:
        """The state right now; never blocks."""

    def report(self) -> dict[str, Any]:
        """What `/health` says of it at every door, as JSON has it."""
        health = self.health()
        return {
            "live": health.live,
            "ready": health.ready,
            "reason": health.reason,
            "engine": self.name,
            "models": list(self.models),
            "timeline": [{"phase": phase, "seconds": round(seconds, 3)} for phase, seconds in self.timeline.marks],
        }

    @abstractmethod
    async def died(self) -> str:
        """Wait until the engine ends without having been stopped; the reason. May be cancelled at any time."""

    @property
    def hangs(self) -> int:
        """How often it has stopped responding so far, whether or not it came back."""
        return 0

    async def metrics(self) -> str:
        """The engine's own metrics in Prometheus' text format; empty if it has none."""
        return ""

    async def scrape(self) -> Scrape:
        """Those metrics, and how busy the engine is: what a door's `/metrics` has of it (`engineroom.pool_gauges`)."""
        return Scrape(await self.metrics())


class Engine(RunningEngine):
    """One engine: a plugin that is configured from settings, and then runs."""

    name: ClassVar[str]
    """The name under which the entry point registers it, and which `ENGINE` takes."""

    summary: ClassVar[str] = ""
    """One line on what it is, for `engineroom engines`."""

    capabilities: Capabilities = Capabilities()
    """What it can do with a request. A class declares the most, an instance may narrow it."""

    sampling_params: ClassVar[frozenset[str]] = frozenset()
    """Sampling parameters it knows beyond OpenAI's own, e.g. `top_k`."""

    other_names: ClassVar[Mapping[str, OtherName]] = {}
    """Names of settings that users know from elsewhere -> what becomes of each, e.g. `taken("MODEL_NAME", ["MODEL"])`.
    The names of its flags, and whatever no settings model of its own has in its table."""

    usual_settings: ClassVar[Mapping[UsualSetting, str]] = {}
    """What most servers of models have a setting for (`engineroom.settings.usual_settings`) -> its setting for it."""

    namespaces: ClassVar[tuple[str, ...]] = ()
    """What all of its own variables begin with; one that nobody knows gets a warning."""

    defaults: ClassVar[Mapping[str, str]] = {}
    """Worker settings that have a different default with this engine, e.g. `MODEL_NAME`."""

    model_formats: ClassVar[tuple[ModelFormat, ...]] = ()
    """The formats of weights that it loads, the one it is best at first. Empty for an engine that loads no files: its
    MODEL_NAME is only a name."""

    preference: ClassVar[int] = 50
    """Of several engines that can serve a model, and are equally good at its format, the one with the lowest number is
    taken where ENGINE names none."""

    death_lag: ClassVar[float] = 0.0
    """Seconds for which it may still answer requests with errors when it is beyond help, before its end is seen."""

    metric_names: ClassVar[Mapping[Measure, Sequence[str]]] = {}
    """How its server calls in `/metrics` what `engineroom top` and `engineroom bench` read; the names of older versions
    come last. A name has its unit at its end, as Prometheus wants it (`_seconds`, `_milliseconds`); counters end in
    `_total`."""

    adapter_setting: ClassVar[str] = ""
    """The setting that names LoRA adapters beside the model; empty where it takes none."""

    memory: ClassVar[MemoryProfile | None] = None
    """How it uses a GPU's memory, so that one can say beforehand whether a model fits; None where nobody knows."""

    def pool_facts(self) -> PoolFacts:
        """What it knows of its load. The base classes count its requests; an engine adds what else it knows."""
        return PoolFacts()

    async def scrape(self) -> Scrape:
        text = await self.metrics()
        names = self.metric_names
        running = names.get("requests_running", ())
        load = read_load(text, running, names.get("cache_usage", ()), self.pool_facts())
        return Scrape(text, load, self.name, self.models[0] if self.models else "")

    @property
    def can_sleep(self) -> bool:
        """Whether it can give its memory back and keep its process, which is sooner ready again than a new one."""
        return False

    async def sleep(self) -> None:
        """Give the model's memory back. Only once it is ready, and while no request runs.

        Until `wake` returns it is live and not ready, and answers requests with a 503.

        Raises:
            APIError: it could not. It may be stopped then, as at any time.
        """
        raise NotImplementedError

    async def wake(self) -> None:
        """Take the memory again; returns once requests are served.

        Raises:
            APIError: it could not. It is of no further use then, and has to be stopped.
        """
        raise NotImplementedError

    @classmethod
    @abstractmethod
    def settings(cls, env: Environment) -> tuple[SettingsGroup, ...]:
        """Every setting of its own, so that mistyped names are noticed and documentation can be generated.

        The core adds `WorkerSettings` and those of the doors. `env` is given because the settings may depend on
        the engine's version; nothing else may be read from it.
        """

    @classmethod
    @abstractmethod
    def configure(cls, worker: WorkerSettings, env: Environment) -> Self:
        """Read its own settings and return the engine, not yet started.

        Args:
            worker: what all engines share, read from `env`.
            env: `other_names` and `defaults` are applied already.

        Raises:
            SettingsError: with every problem found.
        """

    def share(self) -> bytes | None:
        """What another process of this machine needs to send requests to its server, too, for `join_engine` of
        `engineroom.server`; None where only this process can. Only once it is ready."""
        return None

    def memory_held(self) -> int | None:
        """Resident bytes of its own processes, as far as the system says; None for an engine without any."""
        return None

    @classmethod
    def requirements(cls, env: Environment) -> tuple[Requirement, ...]:
        """What it needs on this machine, and whether that is there. Must be quick and import nothing heavy."""
        return ()

    @classmethod
    def unset_values(cls, env: Environment) -> Mapping[str, Collection[str]]:
        """Its variables, and other names of theirs -> values that count as not set, beside an empty one.

        For instance the `None` of an example, or the 0 that a form sends for an empty number.
        """
        return {}

    @classmethod
    def own_models(cls, env: Environment) -> Mapping[str, Path]:
        """Models that are on this machine outside of the hubs' caches: what MODEL_NAME takes -> the file."""
        return {}
