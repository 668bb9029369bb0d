"""One run: a probe, then stage after stage, each with its figures, until all are done or somebody stops it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from engineroom import __version__

from ..load.arrivals import Arrivals
from ..load.loop import Extent, LoadLoop
from ..load.measurement import Measurement
from ..load.sender import Ask, Sender, Surface
from .figures import Objectives, Report, Stage
from .probe import Probe, probe
from .recorder import StageRecorder
from .scenarios import Prompts, Scenario, from_file
from .search import RateSearch
from .server_watch import ServerWatch
from .verdict import verdict

_WARM_UP_TOKENS = 8
_FIRST_NUMBER = 1_000_000
"""Prompts of stage n begin at the number n times this, so that no stage asks what another asked."""

_WARM_UP_STREAMS = 16
_FEW = 100


class Level(NamedTuple):
    """One stage's load: so many streams, or arrivals."""

    streams: int = 0
    arrivals: Arrivals | None = None

    @property
    def label(self) -> str:
        if self.arrivals is None:
            return f"{self.streams} stream{'' if self.streams == 1 else 's'}"
        return f"{self.arrivals.rate:g}/s"

    @property
    def kind(self) -> str:
        if self.arrivals is None:
            return "closed"
        kind = "regular" if self.arrivals.regular else "Poisson"
        return kind if self.arrivals.at_once == 1 else f"{kind}, bursts of {self.arrivals.at_once}"


@dataclass(frozen=True)
class BenchPlan:
    """What a run does.

    levels: the stages; with `search` those that it finds are measured in their place.
    file: own requests in place of the scenario's, used in their order and over again.
    warm_up: requests a stream before each stage, which no figure counts.
    ramp_s: seconds over which the streams of a stage begin.
    streamed: whether answers stream.
    exact: whether answers go on to their stated length; None where the server takes that.
    """

    scenario: Scenario
    surface: Surface
    levels: Sequence[Level]
    extent: Extent
    objectives: Objectives
    search: Callable[[], RateSearch] | None = None
    search_arrivals: Arrivals = field(default=Arrivals(1))
    file: Path | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    warm_up: int = 1
    ramp_s: float = 1.0
    streamed: bool = True
    exact: bool | None = None


class Live(NamedTuple):
    """What a stage that is under way can be asked."""

    level: Level
    recorder: StageRecorder
    loop: LoadLoop
    extent: Extent
    began: float


class BenchRun:
    """A run against one target.

    Args:
        target: the URL, for the report.
        on_stage: shows a stage that has begun; cancelled when the stage ends.
        on_end: gets the figures of each stage.
    """

    def __init__(
        self,
        sender: Sender,
        watch: ServerWatch,
        plan: BenchPlan,
        target: str,
        model: str,
        on_stage: Callable[[Live], Coroutine[Any, Any, None]],
        on_end: Callable[[Stage], object],
    ) -> None:
        self._sender = sender
        self._watch = watch
        self._plan = plan
        self._target = target
        self._model = model
        self._on_stage = on_stage
        self._on_end = on_end
        self._began = time.perf_counter()
        self._started_at = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._stages: list[Stage] = []
        self._notes: list[str] = []
        self._best = ""
        self.interrupted = False

    @property
    def stages(self) -> Sequence[Stage]:
        """The figures of the stages that have ended."""
        return self._stages

    def add_notes(self, notes: Sequence[str]) -> None:
        """What else a reader of the report should know."""
        self._notes += notes

    async def run(self) -> None:
        """Measure all stages. A cancellation ends it early: what was measured by then is in the report.

        Raises:
            RequestFailure: the server answers no request of the kind.
        """
        plan = self._plan
        probed = await probe(self._sender, plan.surface, plan.fields, plan.exact)
        self._notes += probed.notes
        search = plan.search() if plan.search is not None else None
        levels = self._search_levels(search) if search is not None else iter(plan.levels)
        for number, level in enumerate(levels, 1):
            stage = await self._stage(level, self._asks(probed, number), number)
            self._stages.append(stage)
            self._on_end(stage)
            if search is not None and level.arrivals is not None:
                search.tried(level.arrivals.rate, bool(stage.met))
            if self.interrupted:
                break
            if not stage.succeeded and search is None:
                self._notes.append(f"At {stage.label} no request succeeded, so that the run ended there.")
                break
        if search is not None:
            self._best = f"{search.good:g}/s" if search.good else ""
            self._notes.append(_search_note(search, plan.objectives))

    def report(self) -> Report:
        """The report of what was measured so far."""
        plan = self._plan
        if any(0 < stage.requests < _FEW for stage in self._stages):
            self._notes.append(
                f"Of fewer than {_FEW} requests P99 is the slowest: give stages more time (-d) or more (-n)."
            )
        if not self._watch.available:
            self._notes.append(
                "The server shows no /metrics that are known here: the verdict rests on what this client saw."
            )
        return Report(
            target=self._target,
            model=self._model,
            surface=plan.surface,
            scenario=plan.scenario.name,
            parameters=_parameters(plan),
            started_at=self._started_at,
            seconds=time.perf_counter() - self._began,
            engineroom=__version__,
            objectives=plan.objectives,
            stages=list(self._stages),
            best=self._best,
            interrupted=self.interrupted,
            notes=list(self._notes),
            verdict=verdict(self._stages),
        )

    def _search_levels(self, search: RateSearch) -> Iterator[Level]:
        rate = search.next_rate()
        while rate is not None:
            yield Level(arrivals=self._plan.search_arrivals._replace(rate=rate))
            rate = search.next_rate()

    def _asks(self, probed: Probe, number: int) -> Iterator[Ask]:
        plan = self._plan
        fields = {**probed.fields, **plan.fields}
        if plan.file is not None:
            return _over_again(from_file(plan.file, plan.surface, fields, probed.output_field))
        return self._prompts(probed, fields, number).asks(number * _FIRST_NUMBER)

    def _prompts(self, probed: Probe, fields: Mapping[str, Any], number: int) -> Prompts:
        plan = self._plan
        seed = plan.seed + number
        return Prompts(plan.scenario, plan.surface, seed, probed.words, fields, probed.output_field)

    async def _stage(self, level: Level, asks: Iterator[Ask], number: int) -> Stage:
        plan = self._plan
        streams = level.streams or _WARM_UP_STREAMS
        if plan.warm_up:
            await self._warm_up(streams, asks)
        elif level.streams:
            await self._sender.prepare(level.streams)
        async with self._watch.watching() as server:
            recorder = StageRecorder(plan.objectives, plan.streamed)
            loop = LoadLoop(self._sender, asks, recorder.started, recorder.ended)
            live = Live(level, recorder, loop, plan.extent, time.perf_counter())
            display = asyncio.ensure_future(self._on_stage(live))
            try:
                if level.arrivals is None:
                    ramp_s = min(plan.ramp_s, (plan.extent.seconds or plan.ramp_s) / 4)
                    await loop.closed(level.streams, plan.extent, ramp_s)
                else:
                    await loop.open(level.arrivals, plan.extent, plan.seed + number)
            except asyncio.CancelledError:
                self.interrupted = True
            finally:
                display.cancel()
                await asyncio.gather(display, return_exceptions=True)
        rate = level.arrivals.rate if level.arrivals is not None else 0
        return recorder.stage(loop, level.label, level.streams, rate, level.kind, server.figures())

    async def _warm_up(self, streams: int, asks: Iterator[Ask]) -> None:
        """Requests that nobody counts: they open connections and let the server compile and fill what it needs."""
        shorter = (_shortened(ask) for ask in asks)
        loop = LoadLoop(self._sender, shorter, Measurement, lambda _: None)
        await loop.closed(streams, Extent(requests=streams * self._plan.warm_up))


def _shortened(ask: Ask) -> Ask:
    """The same request for at most eight tokens."""
    limits = {
        name: min(_WARM_UP_TOKENS, ask.body[name])
        for name in ("max_tokens", "max_completion_tokens")
        if name in ask.body
    }
    return Ask(ask.surface, {**ask.body, **limits})


def _over_again(asks: Sequence[Ask]) -> Iterator[Ask]:
    while True:
        yield from asks


def _parameters(plan: BenchPlan) -> dict[str, str]:
    scenario = plan.scenario
    parameters = {"input tokens": str(scenario.input), "output tokens": str(scenario.output)}
    if scenario.prefix:
        parameters["shared prefix"] = f"{scenario.prefix} tokens"
    if scenario.turns > 1:
        parameters["turns"] = f"1-{scenario.turns}"
    if plan.file is not None:
        parameters = {"file": str(plan.file)}
    if plan.extent.requests is not None:
        parameters["requests a stage"] = str(plan.extent.requests)
    if plan.extent.seconds is not None:
        parameters["seconds a stage"] = f"{plan.extent.seconds:g}"
    parameters["seed"] = str(plan.seed)
    parameters["warm-up"] = f"{plan.warm_up} a stream"
    return parameters


def _search_note(search: RateSearch, objectives: Objectives) -> str:
    if search.good:
        return f"The largest rate with {objectives} is {search.good:g} requests/s; {search.bad:g}/s was too much."
    return f"No rate had {objectives}: {search.bad:g} requests/s was too much, too."
