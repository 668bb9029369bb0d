"""Which adapters are loaded, and whose turn it is, over a stand-in for an engine that notes what it is told."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engineroom.adapters import Adapter, AdapterPool
from engineroom.errors import APIError


def adapter(name: str, version: str = "1") -> Adapter:
    return Adapter(name, Path("/adapters") / name, version)


class StandinEngine:
    """Loads what it is told, in a moment; `wrong` names what it cannot load."""

    def __init__(self, capacity: int, wrong: frozenset[str] = frozenset()) -> None:
        self.pool = AdapterPool(self.load, self.unload, capacity)
        self.capacity = capacity
        self.wrong = wrong
        self.loaded: dict[str, str] = {}
        self.used: dict[str, int] = {}
        self.done: list[str] = []

    async def load(self, adapter: Adapter) -> None:
        await asyncio.sleep(0)
        if adapter.name in self.wrong:
            raise APIError(f"{adapter.name} is broken", code="adapter_not_loadable")
        assert adapter.name not in self.loaded
        self.loaded[adapter.name] = adapter.version
        self.done.append(f"+{adapter.name}")
        assert len(self.loaded) <= self.capacity

    async def unload(self, name: str) -> None:
        assert not self.used.get(name), f"{name} is in use"
        await asyncio.sleep(0)
        del self.loaded[name]
        self.done.append(f"-{name}")

    async def request(self, name: str, steps: int = 1, version: str = "1") -> str:
        async with self.pool.use(adapter(name, version)):
            self.used[name] = self.used.get(name, 0) + 1
            try:
                for _ in range(steps):
                    await asyncio.sleep(0)
                    assert name in self.loaded
            finally:
                self.used[name] -= 1
        return name


async def test_the_one_that_was_used_longest_ago_gives_way() -> None:
    engine = StandinEngine(2)
    for name in ("a", "b", "a", "c", "a"):
        await engine.request(name)
    assert engine.done == ["+a", "+b", "-b", "+c"]
    assert engine.pool.loaded == ("c", "a")
    assert engine.pool.counts == {"loads": 3, "unloads": 1}


async def test_first_requests_at_the_same_time_load_once() -> None:
    engine = StandinEngine(2)
    await asyncio.gather(*(engine.request("a") for _ in range(20)))
    assert engine.done == ["+a"]


async def test_a_failed_load_fails_those_who_asked_for_it_and_nobody_else() -> None:
    engine = StandinEngine(1, frozenset({"bad"}))
    names = ["good", "bad", "good", "bad", "other"]
    answers = await asyncio.gather(*map(engine.request, names), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["good", "bad is broken", "good", "bad is broken", "other"]
    assert answers[1] is not answers[3], "each raises an error of its own"


async def test_who_waits_gets_a_turn_though_a_popular_adapter_is_never_idle() -> None:
    engine = StandinEngine(1)
    ended = asyncio.Event()

    async def ask_on_and_on() -> int:
        served = 0
        while not ended.is_set():
            await engine.request("popular", steps=5)
            served += 1
        return served

    crowd = [asyncio.ensure_future(ask_on_and_on()) for _ in range(8)]
    await engine.request("popular")
    for _ in range(3):
        await asyncio.wait_for(engine.request("rare"), 10)
    ended.set()
    assert min(await asyncio.gather(*crowd)) > 0
    assert engine.done.count("+rare") == 3


async def test_other_adapters_go_on_while_one_gives_way() -> None:
    engine = StandinEngine(2)
    await engine.request("a")
    async with engine.pool.use(adapter("b")), engine.pool.use(adapter("b")), engine.pool.use(adapter("a")):
        waiting = asyncio.ensure_future(engine.request("c"))
        await asyncio.sleep(0)
        await asyncio.wait_for(engine.request("b"), 10)
        behind = asyncio.ensure_future(engine.request("a"))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        assert not behind.done(), "the one with fewer requests takes no more until it is idle"
    assert await waiting == "c"
    assert await behind == "a"


async def test_one_long_request_holds_up_nobody_who_waits_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engineroom.adapters.pool._PATIENCE_S", 0.02)
    engine = StandinEngine(2)
    ended = asyncio.Event()

    async def ask_on_and_on() -> None:
        while not ended.is_set():
            await engine.request("popular", steps=5)

    async with engine.pool.use(adapter("long")):
        crowd = [asyncio.ensure_future(ask_on_and_on()) for _ in range(4)]
        await engine.request("popular")
        assert await asyncio.wait_for(engine.request("rare"), 10) == "rare"
        assert "long" in engine.loaded
    ended.set()
    await asyncio.gather(*crowd)


async def test_who_leaves_the_queue_is_not_loaded_for() -> None:
    engine = StandinEngine(1)
    async with engine.pool.use(adapter("a")):
        leaving = asyncio.ensure_future(engine.request("b"))
        await asyncio.sleep(0.01)
        behind = asyncio.ensure_future(engine.request("a"))
        await asyncio.sleep(0.01)
        assert not behind.done()
        leaving.cancel()
        assert await asyncio.wait_for(behind, 10) == "a", "nobody waits for the other any more"
    assert engine.done == ["+a"]


async def test_a_changed_adapter_is_loaded_anew_once_its_requests_are_done() -> None:
    engine = StandinEngine(4)
    async with engine.pool.use(adapter("a")):
        renewed = asyncio.ensure_future(engine.request("a", version="2"))
        await asyncio.sleep(0.01)
        assert engine.done == ["+a"]
    await renewed
    assert engine.done == ["+a", "-a", "+a"]
    assert engine.loaded == {"a": "2"}


async def test_an_engine_that_does_not_unload_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def load(adapter: Adapter) -> None: ...

    async def unload(name: str) -> None:
        raise ConnectionError("gone")

    pool = AdapterPool(load, unload, 1)
    for name in ("a", "b"):
        async with pool.use(adapter(name)):
            pass
    assert pool.loaded == ("b",)
    assert "did not unload the adapter a: gone" in caplog.text


async def test_closing_ends_what_waits() -> None:
    async def load(adapter: Adapter) -> None:
        await asyncio.Event().wait()

    async def use(pool: AdapterPool) -> None:
        async with pool.use(adapter("a")):
            pass

    async def unload(name: str) -> None: ...

    pool = AdapterPool(load, unload, 1)
    waiting = asyncio.ensure_future(use(pool))
    await asyncio.sleep(0.01)
    await pool.close()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


REQUESTS = st.lists(
    st.tuples(
        st.sampled_from("abcdef"),
        st.integers(1, 4),  # how long it runs
        st.integers(0, 3),  # when it comes after the one before
        st.sampled_from([None, None, None, 0, 2, 5]),  # when its client leaves
        st.sampled_from("112"),
    ),
    max_size=25,
)


@given(REQUESTS, st.integers(1, 3), st.sampled_from([frozenset(), frozenset("f"), frozenset("ab")]))
@settings(max_examples=150, deadline=None)
def test_whatever_comes_nothing_is_lost(
    requests: list[tuple[str, int, int, int | None, str]], capacity: int, wrong: frozenset[str]
) -> None:
    """The engine asserts that no more than its capacity is loaded, and that nothing is unloaded that is in use."""

    async def run() -> None:
        engine = StandinEngine(capacity, wrong)
        tasks = []
        for name, steps, pause, leaves, version in requests:
            for _ in range(pause):
                await asyncio.sleep(0)
            task = asyncio.ensure_future(engine.request(name, steps, version))
            tasks.append(task)
            if leaves is not None:
                for _ in range(leaves):
                    await asyncio.sleep(0)
                task.cancel()
        answers = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 30)
        for (name, _, _, leaves, _), answer in zip(requests, answers, strict=True):
            left = leaves is not None and isinstance(answer, asyncio.CancelledError)
            assert left or (isinstance(answer, APIError) if name in wrong else answer == name), answer
        assert not any(engine.used.values())
        assert set(engine.loaded) == set(engine.pool.loaded)
        # Nothing is left behind that would keep the next from its turn.
        for name in "cde":
            await asyncio.wait_for(engine.request(name), 10)

    asyncio.run(run())
