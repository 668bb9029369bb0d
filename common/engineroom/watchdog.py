"""A watchdog: it notices an engine that lives and does nothing, by what moves, not by what exists.

An engine hangs where its process is stopped, deadlocked or waits for what never comes. It is told from one that works
for long, on a prompt of a million tokens or a compilation, by three things that a hung one never does: it answers, it
moves something that somebody waits for, or it takes the processor. One that waits for a processor which others have
counts as one that takes it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple, Protocol

logger = logging.getLogger(__name__)

_SUSPECT_S = 6.0
_SHARE = 10
"""An engine is suspected after a tenth of ENGINE_HANG_TIMEOUT, at most six seconds: noticed, all in all, within ten."""
_LOOKS = 6
"""How often it is looked at until it is suspected."""
_BUSY_SHARE = 0.05
"""The share of one processor above which an engine works: so much is left to it where twenty want the same one. A
server that only answers its health checks takes less than a hundredth."""
_STARVED_SHARE = 0.5
"""The share of the time above which an engine works that has a processor, or waits for one. What has less of it than it
wants waits nearly always; a server that only answers its health checks waits for moments, however busy the machine."""
_IDLE_LOOKS = 3
"""Every how many looks the processes of an engine are looked at that answers, and generates nothing. A look goes
through all processes of the machine: while something moves, nothing could come of it."""


class Activity(NamedTuple):
    """What an engine's processes or threads have done so far.

    seconds: processor time, of all together.
    waited: seconds for which their threads had something to do and no processor to do it, of all together; 0 where the
        system does not say.
    faults: pages that they had to wait for, as where a model's file is read again from a slow disk.
    processes: how many there are; stopped: how many of those are stopped, as by SIGSTOP.
    """

    seconds: float
    waited: float = 0
    faults: int = 0
    processes: int = 0
    stopped: int = 0


class Watched(Protocol):
    """An engine as its watchdog sees it."""

    name: str
    probed: str
    """What is asked to see whether it answers, e.g. `GET /health`; empty where there is nothing to ask."""

    def awaited(self) -> int:
        """How many requests wait for it now."""

    def progress(self) -> object:
        """What changes with whatever it does for requests; reading it costs nothing."""

    async def counters(self) -> object:
        """More of the same that has to be asked for; None where it has none, or does not say."""

    async def probe(self) -> bool:
        """Whether it answers at all. May take as long as the answer does."""

    async def canary(self) -> bool:
        """Whether it generates: a request of one token. May take as long as the answer does, and is cancelled then."""

    def activity(self) -> Activity | None:
        """What its processes have done; None where the system does not say."""


class Patience(NamedTuple):
    """Seconds of silence that are borne; infinite for any number.

    suspect: until an engine gets no more requests.
    hang: until it is taken for dead where it is idle.
    busy: the same where it takes the processor all the while.
    """

    suspect: float
    hang: float
    busy: float

    @classmethod
    def of(cls, hang_timeout: float, busy_factor: float) -> Patience:
        """The patience for ENGINE_HANG_TIMEOUT; see `Watchdog`."""
        if not hang_timeout:
            return cls(_SUSPECT_S, math.inf, math.inf)
        return cls(min(_SUSPECT_S, hang_timeout / _SHARE), hang_timeout, hang_timeout * busy_factor)


class Observation(NamedTuple):
    """What was seen since the look before.

    elapsed: seconds.
    answered: it answered a probe.
    moved: something that somebody waits for moved, or a canary was answered.
    awaited: requests wait for it.
    busy: it took the processor, or waited for one; None where that cannot be seen.
    stopped: how many of its processes are stopped.
    """

    elapsed: float
    answered: bool
    moved: bool
    awaited: bool
    busy: bool | None
    stopped: int = 0


class Judgement(NamedTuple):
    """What is thought of an engine.

    unanswered: seconds without an answer to a probe, while it was idle.
    stalled: seconds in which nothing moved that was waited for, while it was idle.
    overdue: the same, whether it was idle or not.
    """

    state: Literal["well", "suspected", "hung"] = "well"
    unanswered: float = 0
    stalled: float = 0
    overdue: float = 0


WELL = Judgement()


def judge(before: Judgement, seen: Observation, patience: Patience) -> Judgement:
    """What to think of an engine after one more look.

    Time counts as it is seen to pass. Seconds in which this process itself slept are nobody's silence, so that a
    machine that wakes up does not find its engine hung.
    """
    if seen.moved:
        return WELL
    suspected = before.state != "well"
    busy = bool(seen.busy) and not seen.stopped
    if seen.answered and not seen.stopped:
        unanswered = 0.0
    elif busy:
        # What works may be too busy to answer. One that is suspected already has to answer, too.
        unanswered = before.unanswered if suspected else 0.0
    else:
        unanswered = before.unanswered + seen.elapsed
    asked = seen.awaited or before.stalled >= patience.suspect
    stalled = before.stalled + seen.elapsed if asked and seen.busy is False else 0.0
    overdue = before.overdue + seen.elapsed if seen.awaited else 0.0
    state: Literal["well", "suspected", "hung"] = "well"
    if max(unanswered, stalled) >= patience.hang or overdue >= patience.busy:
        state = "hung"
    elif max(unanswered, stalled) >= patience.suspect or overdue >= patience.busy / 2:
        state = "suspected"
    return Judgement(state, unanswered, stalled, overdue)


class Watchdog:
    """Watches one engine from when it serves until it is stopped, dead, or hung.

    Args:
        hang_timeout: ENGINE_HANG_TIMEOUT; with 0 an engine is suspected, and never taken for dead.
        busy_factor: how many times as long it may take the processor for nothing that moves. Infinite where nothing
            would be seen to move in a long prompt.

    suspicion: why the engine gets no requests now; empty while it is well.
    hangs: how often it was suspected.
    """

    def __init__(
        self,
        engine: Watched,
        hang_timeout: float,
        busy_factor: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._patience = Patience.of(hang_timeout, busy_factor)
        self._clock = clock
        self._judgement = WELL
        self._activity: Activity | None = None
        self._unlooked = 0
        """Looks since the one at the engine's processes."""
        self._progress: object = None
        self._counters: object = None
        self._since = 0.0
        self._probe = _Question(engine.probe)
        self._canary = _Question(engine.canary, failure=True)
        self._asked_counters = _Question(engine.counters)
        self.suspicion = ""
        self.hangs = 0

    async def run(self) -> str:
        """Watch until the engine hangs for good; what was seen of it. Cancel it to end it."""
        interval = self._patience.suspect / _LOOKS
        looked_at = self._clock()
        self._probe.ask()
        try:
            while True:
                await asyncio.sleep(interval)
                now = self._clock()
                elapsed = min(now - looked_at, 2 * interval)
                looked_at = now
                observation = self._look(elapsed)
                self._conclude(judge(self._judgement, observation, self._patience), observation)
                if self._judgement.state == "hung":
                    return f"{self._engine.name} hung: {self._what(observation)}"
        finally:
            for question in (self._probe, self._canary, self._asked_counters):
                question.drop()

    def _look(self, elapsed: float) -> Observation:
        engine = self._engine
        progress = engine.progress()
        moved = progress != self._progress
        self._progress = progress
        awaited = bool(engine.awaited())
        answered = bool(self._probe.take())
        counters = self._asked_counters.take()
        if counters is not None:
            moved = moved or self._counters not in (None, counters)
            self._counters = counters
        moved = bool(self._canary.take()) or moved
        silent = not moved and (not answered or awaited)
        busy: bool | None = False
        before = self._activity
        self._activity = None
        stopped = 0 if before is None else before.stopped
        self._unlooked += 1
        if silent or stopped or (not moved and self._unlooked >= _IDLE_LOOKS):
            self._unlooked = 0
            now = self._engine.activity()
            busy = None if now is None else before is not None and worked(before, now, elapsed)
            stopped = 0 if now is None else now.stopped
            self._activity = now if silent or stopped else None
        self._ask(moved, awaited)
        return Observation(elapsed, answered, moved, awaited, busy, stopped)

    def _ask(self, moved: bool, awaited: bool) -> None:
        """Ask the engine what it has to answer until the next look."""
        if not moved:
            self._probe.ask()
        if moved or not (awaited or self._judgement.state != "well"):
            self._canary.drop()
            self._asked_counters.drop()
            self._counters = None
            return
        stalled = self._judgement.stalled >= self._patience.suspect / 3
        if stalled:
            self._canary.ask()
        # Its counters cost a server more than a probe does.
        if stalled or self._judgement.overdue >= self._patience.busy / 20:
            self._asked_counters.ask()

    def _conclude(self, judgement: Judgement, seen: Observation) -> None:
        before = self._judgement.state
        self._judgement = judgement
        if judgement.state == "well":
            if before != "well":
                logger.info("%s works again after %.0f s", self._engine.name, self._clock() - self._since)
                self.suspicion = ""
            return
        self.suspicion = f"not responding: {self._what(seen)}"
        if before == "well":
            self.hangs += 1
            self._since = self._clock() - max(judgement.unanswered, judgement.stalled, judgement.overdue)
            end = "until it does"
            if self._patience.hang != math.inf:
                end += f"; after {self._patience.hang:g} s of that (ENGINE_HANG_TIMEOUT) it is ended"
            logger.warning("%s is %s; it gets no requests %s", self._engine.name, self.suspicion, end)

    def _what(self, seen: Observation) -> str:
        """What was observed, in words."""
        judgement = self._judgement
        total = self._activity.processes if self._activity else seen.stopped
        stopped = "its process" if total == 1 else f"{seen.stopped} of its {total} processes"
        if seen.stopped and seen.answered:
            return f"{stopped} stopped for {_seconds(judgement.unanswered)}"
        if seen.stopped or judgement.unanswered >= self._patience.suspect:
            silence = f"no answer to {self._engine.probed} for {_seconds(judgement.unanswered)}"
        elif judgement.stalled >= self._patience.suspect:
            silence = f"nothing generated for {_seconds(judgement.stalled)}, though asked for"
        else:
            return f"nothing generated for {_seconds(judgement.overdue)}, though asked for and busy all the while"
        if seen.stopped:
            return f"{silence}, {stopped} stopped"
        return silence if seen.busy is None else f"{silence}, its processes idle"


def worked(before: Activity, now: Activity, elapsed: float) -> bool:
    """Whether an engine worked between two looks, or would have if others had left it a processor."""
    ran = now.seconds - before.seconds
    wanted = ran + now.waited - before.waited
    return ran >= _BUSY_SHARE * elapsed or wanted >= _STARVED_SHARE * elapsed or now.faults > before.faults


def _seconds(number: float) -> str:
    return f"{number:.0f} s" if number >= 3 else f"{number:.1f} s"


class _Question:
    """Something that an engine is asked, once at a time, for as long as its answer takes.

    Args:
        failure: what an exception counts as.
    """

    def __init__(self, ask: Callable[[], Awaitable[object]], failure: object = None) -> None:
        self._ask = ask
        self._failure = failure
        self._task: asyncio.Future[object] | None = None

    def ask(self) -> None:
        """Ask, unless an answer is still to come."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._ask())

    def take(self) -> object:
        """The answer; None where there is none yet."""
        if self._task is None or not self._task.done():
            return None
        task, self._task = self._task, None
        if task.cancelled():
            return None
        return task.result() if task.exception() is None else self._failure

    def drop(self) -> None:
        """Wait for no answer any longer."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
