"""Several models as one engine: what a door sees of them."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ..asgi.types import ASGIApp
from ..engine import (
    MODELS,
    Capabilities,
    Engine,
    Health,
    Metric,
    Route,
    RunningEngine,
    ToolUse,
    exposition,
    label_value,
)
from ..errors import APIError
from ..openai.gateway import unknown_model
from ..pool_load import Scrape, together
from ..timeouts import timeout
from .engines import ConfiguredModel, Engines, ModelFacts
from .labelled_metrics import labelled
from .machine_memory import MachineMemory
from .operator_routes import OPERATOR_ROUTES
from .phases import TAKES_MEMORY
from .residency import Residency
from .residents import ResidentModel
from .router import Router
from .run_loop import RunLoop
from .settings import ResidenceSettings

_ADAPTERS_S = 2
"""Seconds in which an engine has to list its adapters."""
_NAMED = 5
"""Models that are named to people who start a worker."""
_SHUTTING_DOWN = APIError("The server is shutting down.", status=503, code="shutting_down", retry_after=1)


class ResidentModels(RunningEngine):
    """The models of a table, of which as many are loaded as there is room for.

    A request for one that is not loaded waits, in a bounded queue, until it is; `decisions` has the rules by which
    models make room for each other. What becomes of one model is never the worker's end: one that cannot be loaded
    fails its own requests, and one whose engine dies is loaded again when it is next asked for.

    Args:
        models: the table.
        first: an engine of each that is configured already, by the entry's name.
        settings: how they share the worker.
        memory: what they are loaded into.
        max_body: largest request body in bytes.
    """

    def __init__(
        self,
        models: Sequence[ConfiguredModel],
        first: Mapping[str, Engine],
        settings: ResidenceSettings,
        memory: MachineMemory,
        max_body: int,
    ) -> None:
        self._table = {model.entry.name: model for model in models}
        self._settings = settings
        self._memory = memory
        self._names = {name: model.entry.name for model in models for name in model.entry.names}
        self.facts: dict[str, ModelFacts] = {name: ModelFacts.of(engine) for name, engine in first.items()}
        for name, facts in self.facts.items():
            for served in facts.models:  # Adapters have names of their own.
                self._names.setdefault(served, name)
        self._engines = Engines(self._table, first, memory)
        self._run_loop = RunLoop(self._engines, settings.models_queue_timeout)
        self._run_loop.on_change = self._note_facts
        self._residency = Residency(
            [model.entry for model in models],
            [model.engine for model in models],
            self._run_loop,
            max_wait_s=settings.models_max_wait,
            queue_length=settings.models_queue_length,
            one_load_at_a_time=memory.of_gpus,
        )
        self._run_loop.use(self._residency)
        self._state = "loading"
        self.app: ASGIApp = Router(self, self._run_loop, max_body)

    async def _note_facts(self, name: str, engine: Engine) -> None:
        """Keep what an engine says of its model, for as long as it is not loaded."""
        adapters: tuple[str, ...] = ()
        with suppress(Exception):  # What lists them may be away, or the engine dead.
            async with timeout(_ADAPTERS_S):
                adapters = await engine.adapters()
        self.facts[name] = ModelFacts.of(engine)._replace(adapters=adapters)

    # What doors and operators ask.

    def residents(self) -> tuple[ResidentModel, ...]:
        """Every model of the table as it is now, in its order."""
        return self._residency.residents(self._run_loop.now())

    async def load(self, name: str) -> None:
        """Load a model, by its name or an alias, and wait until it is. Others make room for it once they are idle.

        Who stops waiting changes nothing about the wish.

        Raises:
            APIError: 404, there is no such model; 503, it could not be loaded.
        """
        await self._run_loop.load(self._known(name))

    async def unload(self, name: str) -> None:
        """Unload a model, by its name or an alias, pinned or not, once it has answered what it is at; wait until it is
        gone. The next request for it loads it again.

        Raises:
            APIError: 404, there is no such model; 504, it is busy for too long.
        """
        await self._run_loop.unload(self._known(name))

    def entry_name(self, model: str) -> str | None:
        """The entry of a model, by its name or an alias; None where there is none."""
        return self._names.get(model)

    async def find_entry(self, model: str) -> str | None:
        """The entry that serves a model, by any of its names or as an adapter of its model; None where none does.

        Adapters that have come since a model was unloaded are known once it is loaded again.
        """
        known = self._names.get(model) or self._entry_with_adapter(model)
        if known is not None:
            return known
        for name, engine in self._able().items():
            if await engine.find_model(model):
                return name
        return None

    def _entry_with_adapter(self, model: str) -> str | None:
        able = self._able()
        for name, facts in self.facts.items():
            if model in facts.adapters or (name in able and able[name].knows_model(model)):
                return name
        return None

    def _able(self) -> dict[str, Engine]:
        """The engines that can say which adapters they have: those that run, and those that have not run yet."""
        return {**self._engines.unused, **self._run_loop.engines()}

    def _known(self, name: str) -> str:
        entry = self.entry_name(name)
        if entry is None:
            raise unknown_model(name, self.models)
        return entry

    # The contract.

    @property
    def name(self) -> str:
        return "engineroom"

    @property
    def served(self) -> str:
        names = list(self._table)
        more = f", … {names[-1]}" if len(names) > _NAMED else ""
        listed = ", ".join(names[: _NAMED - 1] if more else names)
        return f"{len(names)} models ({listed}{more})" if len(names) > 1 else names[0]

    @functools.cached_property
    def models(self) -> tuple[str, ...]:
        return tuple(name for model in self._table.values() for name in model.entry.names)

    @property
    def routes(self) -> frozenset[Route]:
        return (MODELS | OPERATOR_ROUTES).union(*(facts.routes for facts in self.facts.values()))

    @property
    def operator_routes(self) -> frozenset[Route]:
        return OPERATOR_ROUTES

    @property
    def served_routes(self) -> frozenset[Route]:
        return (MODELS | OPERATOR_ROUTES).union(*(facts.served_routes for facts in self.facts.values()))

    @property
    def capabilities(self) -> Capabilities:
        """What any of the models can do; each refuses for itself what it cannot."""
        return functools.reduce(_either, (facts.capabilities for facts in self.facts.values()))

    @property
    def sampling_params(self) -> frozenset[str]:
        return frozenset[str]().union(*(facts.sampling_params for facts in self.facts.values()))

    @property
    def death_lag(self) -> float:
        return max(facts.death_lag for facts in self.facts.values())

    def knows_model(self, name: str) -> bool:
        return name in self._names or self._entry_with_adapter(name) is not None

    async def find_model(self, name: str) -> bool:
        return await self.find_entry(name) is not None

    async def adapters(self) -> tuple[str, ...]:
        return tuple(name for names in (await self.adapters_by_entry()).values() for name in names)

    async def adapters_by_entry(self) -> dict[str, tuple[str, ...]]:
        """The adapters of each entry, as far as they are known."""
        # All at once: one that does not answer takes its whole time.
        await asyncio.gather(*(self._note_facts(name, engine) for name, engine in self._able().items()))
        return {name: facts.adapters for name, facts in self.facts.items()}

    async def start(self) -> None:
        reading = await self._memory.read()
        asked = self._settings.models_memory_gb
        budget = int(asked * 1e9) if asked else reading and reading.free
        gpu_memory = reading.total if reading is not None and self._memory.of_gpus else None
        await self._run_loop.start([model.need(gpu_memory) for model in self._table.values()], budget)
        if self._state == "loading":
            self._state = "ready"

    async def stop(self) -> None:
        self._state = "stopped"
        await self._run_loop.stop(_SHUTTING_DOWN)
        await self._engines.close()

    def health(self) -> Health:
        failure = self._run_loop.failure
        if failure:
            return Health(live=False, ready=False, reason=failure)
        return Health(live=self._state != "stopped", ready=self._state == "ready", reason=self._state)

    async def died(self) -> str:
        return await self._run_loop.failed()

    @property
    def hangs(self) -> int:
        return self._run_loop.hangs

    def report(self) -> dict[str, Any]:
        residents = self.residents()
        used = sum(model.memory_bytes for model in residents if model.phase in TAKES_MEMORY)
        return {
            **super().report(),
            "residence": [model.as_json() for model in residents],
            "memory": {"budget_bytes": self._residency.budget, "used_bytes": used},
        }

    async def metrics(self) -> str:
        return (await self.scrape()).text

    async def scrape(self) -> Scrape:
        engines = self._run_loop.engines()
        scrapes = await asyncio.gather(*(engine.scrape() for engine in engines.values()))
        residents = self.residents()
        own = {name: scrape.text for name, scrape in zip(engines, scrapes, strict=True)}
        load = together((scrape.load for scrape in scrapes), sum(model.waiting for model in residents))
        return Scrape(exposition(model_metrics(residents)) + labelled(own), load)


def model_metrics(residents: Sequence[ResidentModel]) -> list[Metric]:
    """The metrics of a worker's models, by the label `model`."""
    label = {model.name: f'model="{label_value(model.name)}"' for model in residents}

    def values(read: Callable[[ResidentModel], float | None]) -> dict[str, float]:
        pairs = [(label[model.name], read(model)) for model in residents]
        return {name: value for name, value in pairs if value is not None}

    gauges: list[tuple[str, str, Callable[[ResidentModel], float | None]]] = [
        ("resident", "1 while the model is loaded.", lambda m: int(m.phase in ("resident", "draining"))),
        ("running", "Requests that the model's engine has.", lambda m: m.running),
        ("waiting", "Requests that wait for the model.", lambda m: m.waiting),
        ("longest_wait_seconds", "How long the first of those has waited.", lambda m: round(m.longest_wait_s, 3)),
        ("memory_bytes", "Memory that the model takes once it is loaded.", lambda m: m.memory_bytes),
        ("load_seconds", "How long the model's last load took.", lambda m: m.load_s and round(m.load_s, 3)),
    ]
    counters: list[tuple[str, str, Callable[[ResidentModel], float | None]]] = [
        ("loads_total", "Loads of the model.", lambda m: m.loads),
        ("unloads_total", "Times that the model's engine was stopped, or had died.", lambda m: m.unloads),
        ("load_failures_total", "Loads that failed, and deaths of the model's engine.", lambda m: m.failures),
    ]
    phases = {f'{label[model.name]},phase="{model.phase}"': 1.0 for model in residents}
    return [
        Metric("engineroom_model_phase", "gauge", "1 for the phase that the model is in.", phases),
        *(Metric(f"engineroom_model_{name}", "gauge", about, values(read)) for name, about, read in gauges),
        *(Metric(f"engineroom_model_{name}", "counter", about, values(read)) for name, about, read in counters),
    ]


def _either(one: Capabilities, other: Capabilities) -> Capabilities:
    """What at least one of two can do."""
    degrees: tuple[ToolUse, ...] = ("none", "optional", "forced")
    return Capabilities(
        surfaces=one.surfaces | other.surfaces,
        tools=max(one.tools, other.tools, key=degrees.index),
        logprobs=one.logprobs or other.logprobs,
        several_choices=one.several_choices or other.several_choices,
        json_schema=one.json_schema or other.json_schema,
        images=one.images or other.images,
        audio=one.audio or other.audio,
        video=one.video or other.video,
        files=one.files or other.files,
        abort=one.abort and other.abort,
        assumed=one.assumed or other.assumed,
    )
