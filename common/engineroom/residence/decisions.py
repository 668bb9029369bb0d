"""Which models to load, which to unload, now: pure functions of what is known at one moment.

The rules, in the order in which they count:

1. A busy model is never unloaded. One that has to go is drained: what it is at ends, new requests for it wait.
2. Pinned models are unloaded by nobody but an operator, and at the end of the worker.
3. Loaded models never take more than the budget together, as far as their memory is known; memory counts as taken until
   an unload is over. Of the models that are in groups, those that are loaded together are all in one group.
4. A model with requests is loaded at once where there is room.
5. Where there is none, idle models make room as soon as that is worth it: at least as many requests wait for it as are
   likely to arrive meanwhile for the models that would go. Until then requests gather, and share one load.
6. A model whose first request has waited for MODELS_MAX_WAIT is overdue: room is made for it whatever else is asked
   for, the longest wait first. Models that have to go are drained, so that no request that arrives later is served
   before it by any of them.
7. A model is unloaded where another needs its room, once its time to live is over, or as an operator asks; never else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .phases import TAKES_MEMORY
from .residents import ModelState, Residents


class Decision(NamedTuple):
    """What is to be done now. The same moment gives the same decision; once it is carried out there is no more to do.

    load: names of absent models.
    drain: resident models that are busy, and have to go.
    unload: models to stop, none of which is busy.
    resume: draining models that may stay after all.
    """

    load: tuple[str, ...] = ()
    drain: tuple[str, ...] = ()
    unload: tuple[str, ...] = ()
    resume: tuple[str, ...] = ()


def decide(residents: Residents, now: float) -> Decision:
    """What to load, drain, unload and resume now."""
    leaving = {model.name for model in residents.models.values() if _leaves_anyway(model, now)}
    placed: list[ModelState] = []
    load: list[str] = []
    for candidate in _candidates(residents, now):
        staying = [*_staying(residents, leaving), *placed]
        victims = _victims(candidate, staying, residents, now)
        if victims is None:
            if is_overdue(candidate, residents, now):
                break  # What room there is belongs to it, as soon as a load that is under way is over.
            continue
        leaving.update(victim.name for victim in victims)
        placed.append(candidate)
        # Those that are on their way out still take their memory.
        taken = [model for model in residents.models.values() if model.phase in TAKES_MEMORY]
        others = [model for model in placed if model.name != candidate.name]
        with_it = [*taken, *others, candidate]
        if _fit(with_it, residents.budget) and _go_together(with_it) and _may_load(residents, load):
            load.append(candidate.name)
    return _as_decision(residents, load, leaving)


def room(residents: Residents, name: str) -> int | None:
    """Bytes that a model could have at most: the budget without what is pinned; None where no budget is known."""
    if residents.budget is None:
        return None
    pinned = sum(model.memory for model in residents.models.values() if model.pinned and model.name != name)
    return max(0, residents.budget - pinned)


def is_overdue(model: ModelState, residents: Residents, now: float) -> bool:
    """Whether the first request that waits for a model has waited for as long as any may."""
    return model.oldest is not None and now >= model.oldest + residents.max_wait_s


def _leaves_anyway(model: ModelState, now: float) -> bool:
    """Whether a loaded model goes whether or not another needs its room."""
    if model.phase not in ("resident", "draining"):
        return model.phase == "unloading"
    if model.dismissed:
        return True
    if model.phase == "draining" or model.pinned or model.ttl_s is None or model.running or model.waiting:
        return False
    return now >= model.idle_since + model.ttl_s


def _candidates(residents: Residents, now: float) -> Iterator[ModelState]:
    """The absent models that ought to be loaded, the one first that is to get room first."""
    able = [model for model in residents.models.values() if model.phase == "absent" and now >= model.retry_at]
    asked = [model for model in able if model.oldest is not None or model.wanted is not None]

    def place(model: ModelState) -> tuple[bool, bool, float, float]:
        if is_overdue(model, residents, now):
            return False, False, model.oldest or 0.0, 0.0
        oldest = model.oldest if model.oldest is not None else now
        return True, model.wanted not in ("operator", "pinned"), -model.waiting, oldest

    yield from sorted(asked, key=place)


def _staying(residents: Residents, leaving: set[str]) -> list[ModelState]:
    """The models that keep their memory, as far as it is decided."""
    return [
        model
        for model in residents.models.values()
        if model.phase in ("loading", "resident", "draining") and model.name not in leaving
    ]


def _victims(
    candidate: ModelState, staying: list[ModelState], residents: Residents, now: float
) -> list[ModelState] | None:
    """The models that go so that a candidate can be loaded, perhaps none; None where it has to wait."""
    if _fit([*staying, candidate], residents.budget) and _go_together([*staying, candidate]):
        return []
    overdue = is_overdue(candidate, residents, now) or candidate.wanted in ("operator", "pinned")
    if candidate.oldest is None and not overdue:
        return None  # A preload takes free room only.

    def price(model: ModelState) -> tuple[bool, float, float]:
        # What is being drained already goes first, so that a decision is not changed for a better one half-way.
        away = candidate.load_s + model.load_s
        return model.phase != "draining", model.expected_requests(now, away), model.idle_since

    may_go = [model for model in staying if _may_go(model, candidate, overdue=overdue)]
    victims = _fewest(candidate, staying, sorted(may_go, key=price), residents)
    if victims is None or overdue:
        return victims
    missed = sum(victim.expected_requests(now, candidate.load_s + victim.load_s) for victim in victims)
    return victims if candidate.waiting >= missed else None


def _may_go(model: ModelState, candidate: ModelState, *, overdue: bool) -> bool:
    """Whether a model that stays may make room for a candidate."""
    if model.pinned or model.phase not in ("resident", "draining"):
        return False
    return overdue or (not model.running and not model.waiting)


def _fewest(
    candidate: ModelState, staying: list[ModelState], cheapest_first: list[ModelState], residents: Residents
) -> list[ModelState] | None:
    """As few of the cheapest models as make room; None where all of them would not."""
    best: list[ModelState] | None = None
    for group in sorted(candidate.groups) or [""]:
        strangers = [m for m in staying if group and m.groups and group not in m.groups]
        if any(model not in cheapest_first for model in strangers):
            continue
        victims = list(strangers)
        for model in cheapest_first:
            if _suffice(victims, candidate, staying, residents):
                break
            if model not in victims:
                victims.append(model)
        if not _suffice(victims, candidate, staying, residents):
            continue
        for model in list(reversed(victims)):
            fewer = [victim for victim in victims if victim is not model]
            if _suffice(fewer, candidate, staying, residents):
                victims = fewer
        if best is None or len(victims) < len(best):
            best = victims
    return best


def _suffice(victims: list[ModelState], candidate: ModelState, staying: list[ModelState], residents: Residents) -> bool:
    left = [model for model in staying if model not in victims]
    return _fit([*left, candidate], residents.budget) and _go_together([*left, candidate])


def _may_load(residents: Residents, load: list[str]) -> bool:
    """Whether one more load may begin."""
    if not residents.one_load_at_a_time:
        return True
    return not load and all(model.phase != "loading" for model in residents.models.values())


def _fit(models: Iterable[ModelState], budget: int | None) -> bool:
    """Whether models fit into the memory together."""
    return budget is None or sum(model.memory for model in models) <= budget


def _go_together(models: Iterable[ModelState]) -> bool:
    """Whether models may be loaded together: those that are in groups are all in one."""
    grouped = [model.groups for model in models if model.groups]
    return not grouped or bool(frozenset.intersection(*grouped))


def _as_decision(residents: Residents, load: list[str], leaving: set[str]) -> Decision:
    drain: list[str] = []
    unload: list[str] = []
    resume: list[str] = []
    for model in residents.models.values():
        if model.phase == "draining" and model.name not in leaving:
            resume.append(model.name)
        elif model.phase in ("resident", "draining") and model.name in leaving:
            if not model.running:
                unload.append(model.name)
            elif model.phase == "resident":
                drain.append(model.name)
    return Decision(tuple(load), tuple(drain), tuple(unload), tuple(resume))
