"""What always holds of loads and unloads, whatever requests come: in a worker whose time is simulated."""

from __future__ import annotations

import itertools
import random

from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_worker import SimulatedWorker

from engineroom.residence.entries import ModelEntry


def entry(name: str, memory: int = 1, **others: object) -> ModelEntry:
    return ModelEntry(place="models[0]", source="test", name=name, memory=memory, **others)  # type: ignore[arg-type]


ENTRIES = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.sampled_from([None, None, 0.5, 5.0]),
        st.booleans(),
        st.sets(st.sampled_from(["day", "night"]), max_size=2),
    ),
    min_size=2,
    max_size=6,
).map(
    lambda rows: [
        entry(f"m{number}", memory, ttl_s=ttl, preload=preload, groups=frozenset(groups))
        for number, (memory, ttl, preload, groups) in enumerate(rows)
    ]
)
ARRIVALS = st.lists(
    st.tuples(
        st.floats(0, 2), st.integers(0, 5), st.floats(0.01, 3), st.sampled_from(["ask"] * 8 + ["die", "dismiss"])
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(ENTRIES, ARRIVALS, st.integers(4, 9), st.floats(0, 5), st.booleans(), st.booleans())
def test_whatever_comes_nobody_waits_for_ever(
    entries: list[ModelEntry],
    arrivals: list[tuple[float, int, float, str]],
    budget: int,
    max_wait: float,
    pin_first: bool,
    one_at_a_time: bool,
) -> None:
    """The simulation itself checks each load and unload: the budget, the groups, that no busy or pinned one goes."""
    if pin_first:
        entries[0] = entry("m0", min(entries[0].memory or 0, budget - 4), pinned=True)
    worker = SimulatedWorker(entries, budget, max_wait, one_load_at_a_time=one_at_a_time)
    worker.begin()
    for pause, number, answer_s, what in arrivals:
        worker.run(worker.now + pause)
        name = entries[number % len(entries)].name
        if what == "ask":
            worker.arrive(name, answer_s)
        elif what == "die":
            worker.die(name)
        else:
            worker.dismiss(name)
    end = worker.now + 2000
    while worker.now < end and any(request.granted is None and request.error is None for request in worker.served):
        worker.run(worker.now + 2)
    lost = [request for request in worker.served if request.granted is None and request.error is None]
    assert not lost
    assert not [request for request in worker.served if request.error is not None]


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 8), st.integers(1, 3), st.floats(0.5, 6), st.floats(0.05, 0.6))
def test_a_request_waits_no_longer_than_the_bound(
    seed: int, models: int, room: int, max_wait: float, pause: float
) -> None:
    """MODELS_MAX_WAIT, and for each model whose requests have waited longer: what runs ends, an unload, a load."""
    chance = random.Random(seed)
    worker = SimulatedWorker([entry(f"m{number}") for number in range(models)], room, max_wait)
    worker.begin()
    weights = [1 / (number + 1) for number in range(models)]
    for _ in range(300):
        worker.run(worker.now + chance.expovariate(1 / pause))
        worker.arrive(f"m{chance.choices(range(models), weights)[0]}", answer_s=0.4)
    worker.run(worker.now + 500)
    turn = 0.4 + worker.unload_s + worker.load_s
    bound = max_wait + models * turn + 0.25
    waits = [request.granted - request.arrived for request in worker.served if request.granted is not None]
    assert len(waits) == 300
    assert max(waits) <= bound


def test_requests_share_a_load() -> None:
    """Ten models, room for three, requests in random order: far fewer loads than where the first is served first."""
    chance = random.Random(18)
    order = [f"m{chance.randrange(10)}" for _ in range(1000)]
    worker = SimulatedWorker([entry(f"m{number}") for number in range(10)], 3, max_wait_s=4)
    worker.begin()
    for name in order:
        worker.run(worker.now + 0.05)
        worker.arrive(name, 0.2)
    worker.run(worker.now + 100)
    kept: list[str] = []
    in_order = 0
    for name in order:  # The best that first come, first served can do: the least recently used one goes.
        if name in kept:
            kept.remove(name)
        else:
            in_order += 1
        kept = [*kept, name][-3:]
    assert worker.loads * 3 < in_order


def test_a_hot_model_does_not_go_for_one_request() -> None:
    worker = SimulatedWorker([entry("hot"), entry("cold")], 1, max_wait_s=30)
    worker.begin()
    for _ in range(100):
        worker.run(worker.now + 0.1)
        worker.arrive("hot", 0.05)
    cold = worker.arrive("cold")
    for _ in range(100):
        worker.run(worker.now + 0.1)
        worker.arrive("hot", 0.05)
    assert cold.granted is None
    for _ in range(250):
        worker.run(worker.now + 0.1)
        worker.arrive("hot", 0.05)
    assert cold.granted is not None
    assert cold.granted - cold.arrived < 30 + 0.05 + 2


def test_an_idle_model_makes_room_at_once() -> None:
    worker = SimulatedWorker([entry("a"), entry("b")], 1, max_wait_s=30)
    worker.begin()
    worker.arrive("a")
    worker.run(worker.now + 60)
    request = worker.arrive("b")
    worker.run(worker.now + 5)
    assert request.granted is not None
    assert request.granted - request.arrived == worker.load_s + worker.unload_s


def test_a_failed_load_fails_its_own_requests_with_the_cause() -> None:
    worker = SimulatedWorker([entry("bad"), entry("good")], 2, fails=lambda name, now: name == "bad")
    worker.begin()
    bad = [worker.arrive("bad") for _ in range(3)]
    good = worker.arrive("good")
    worker.run(5)
    assert good.granted is not None
    assert {request.error and request.error.status for request in bad} == {503}
    assert "made to fail" in str(bad[0].error)


def test_pauses_between_failed_loads_grow_and_are_bounded() -> None:
    worker = SimulatedWorker([entry("bad")], 1, fails=lambda name, now: True)
    worker.begin()
    starts = []
    for _ in range(15_000):
        worker.run(worker.now + 0.1)
        before = worker.loads
        request = worker.arrive("bad")
        if worker.loads > before:
            starts.append(worker.now)
        else:
            assert request.error is None or request.error.retry_after is not None
    pauses = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert pauses == sorted(pauses, key=round)
    assert pauses[0] < 5
    assert max(pauses) < 310


def test_a_dead_model_is_loaded_again_at_once_and_slowly_where_it_keeps_dying() -> None:
    worker = SimulatedWorker([entry("a")], 1)
    worker.begin()
    worker.arrive("a")
    worker.run(5)
    worker.die("a")
    again = worker.arrive("a")
    worker.run(10)
    assert again.granted is not None
    worker.die("a")
    waiting = worker.arrive("a")
    worker.run(11.5)
    assert waiting.granted is None
    worker.run(20)
    assert waiting.granted is not None
    assert waiting.error is None


def test_a_time_to_live_is_that_without_requests() -> None:
    worker = SimulatedWorker([entry("a", ttl_s=5.0)], 1)
    worker.begin()
    for _ in range(4):
        worker.arrive("a", 1.0)
        worker.run(worker.now + 4)
        assert worker.model("a").phase == "resident"
    worker.run(worker.now + 6)
    assert worker.model("a").phase == "absent"


def test_a_full_queue_refuses() -> None:
    worker = SimulatedWorker([entry("a"), entry("b")], 1, queue_length=2)
    worker.begin()
    requests = [worker.arrive("a") for _ in range(3)]
    assert [request.error is None for request in requests] == [True, True, False]
    assert requests[2].error is not None
    assert requests[2].error.code == "server_busy"


def test_what_is_short_of_memory_takes_more_room_until_there_is_none() -> None:
    """The machine had less than its budget: others hold some of it."""
    worker = SimulatedWorker([entry("a"), entry("b"), entry("c")], 3)
    worker.begin()
    for name in ("a", "b"):
        worker.arrive(name)
        worker.run(worker.now + 100)
    request = worker.arrive("c")
    worker._queue.clear()
    worker.residency.short_of_memory("c", worker.now, 1, "too little is free")
    worker.run(worker.now + 5)
    assert request.granted is not None
    assert sum(worker.model(name).phase == "absent" for name in "ab") == 1


def test_what_is_to_be_preloaded_takes_free_room_only() -> None:
    entries = [entry("a", 2, preload=True), entry("b", 1, preload=True), entry("c", 1, preload=True)]
    worker = SimulatedWorker(entries, 3, one_load_at_a_time=True)
    worker.begin()
    assert worker.residency.starting()
    while worker.residency.starting():
        worker.run(worker.now + 0.25)
    assert worker.residency.forget_preloads() == ["c"]
    assert [model.phase for model in worker.residency.residents(worker.now)] == ["resident", "resident", "absent"]
    worker.run(worker.now + 60)
    assert worker.loads == 2


def test_one_who_goes_from_model_to_model_waits_little() -> None:
    """Ten questions to one model in a minute, then one to another: nobody else is there to ask the first again."""
    worker = SimulatedWorker([entry("a"), entry("b")], 1, max_wait_s=30, load_s=5)
    worker.begin()
    for _ in range(10):
        worker.arrive("a", 1)
        worker.run(worker.now + 6)
    request = worker.arrive("b")
    worker.run(worker.now + 60)
    assert request.granted is not None
    swap = worker.unload_s + worker.load_s
    assert request.granted - request.arrived <= 2 * worker.load_s + swap
    first = worker.arrive("a", 1)
    worker.run(worker.now + 20)
    assert first.granted is not None
    assert first.granted - first.arrived == swap


def test_a_hot_model_stays_from_the_first_minute_on() -> None:
    """48 clients who ask ten models, one of them more often than the others: half of its requests find it loaded."""
    chance = random.Random(18)
    weights = [1 / (number + 1) for number in range(10)]
    order = [f"m{chance.choices(range(10), weights)[0]}" for _ in range(600)]
    worker = SimulatedWorker([entry(f"m{number}") for number in range(10)], 3, max_wait_s=4, load_s=0.4, unload_s=0.05)
    worker.begin()
    while order:
        busy = [each for each in worker.served if each.granted is None or each.granted + each.answer_s > worker.now]
        for _ in range(min(48 - len(busy), len(order))):
            worker.arrive(order.pop(), 0.2)
        worker.run(worker.now + 0.02)
    worker.run(worker.now + 20)
    waits = sorted(
        each.granted - each.arrived for each in worker.served if each.model == "m0" and each.granted is not None
    )
    assert waits[len(waits) // 2] < 0.05
