"""The loops: how many requests are under way, when they are due, and how they end."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator

import pytest

from engineroom_operations.load.arrivals import Arrivals
from engineroom_operations.load.failure import RequestFailure
from engineroom_operations.load.loop import Extent, LoadLoop
from engineroom_operations.load.measurement import Measurement
from engineroom_operations.load.sender import Ask, Sender

pytestmark = pytest.mark.anyio


class HeldSender(Sender):
    """Answers when it is let: every request waits for `gate`, then succeeds or fails.

    Args:
        gate: open at first by default.
    """

    def __init__(self, gate: asyncio.Event | None = None, fails: Callable[[int], bool] = lambda _: False) -> None:
        self.gate = gate
        self.fails = fails
        self.under_way = 0
        self.at_once = 0
        self.sent = 0
        self.on_sent = asyncio.Event()

    async def has_sent(self, requests: int) -> None:
        while self.sent < requests:
            self.on_sent.clear()
            await asyncio.wait_for(self.on_sent.wait(), 30)

    async def send(self, ask: Ask, measurement: Measurement) -> None:
        number = self.sent
        self.sent += 1
        self.on_sent.set()
        self.under_way += 1
        self.at_once = max(self.at_once, self.under_way)
        measurement.sent = time.perf_counter()
        try:
            await (self.gate.wait() if self.gate is not None else asyncio.sleep(0))
        finally:
            self.under_way -= 1
        measurement.tokens_arrived(time.perf_counter(), 1)
        measurement.ended = time.perf_counter()
        if self.fails(number):
            measurement.failure = RequestFailure("overloaded", "no", 503)

    async def prepare(self, streams: int) -> None:
        pass

    async def close(self) -> None:
        pass


def asks() -> Iterator[Ask]:
    return itertools.repeat(Ask("chat", {}))


def loop_of(sender: Sender, ended: list[Measurement], given: Iterator[Ask] | None = None) -> LoadLoop:
    return LoadLoop(sender, asks() if given is None else given, Measurement, ended.append)


async def test_a_closed_loop_has_as_many_requests_as_streams_and_ends_with_its_number() -> None:
    sender = HeldSender()
    ended: list[Measurement] = []
    await loop_of(sender, ended).closed(7, Extent(requests=50))
    assert (len(ended), sender.sent, sender.at_once) == (50, 50, 7)


async def test_a_loop_ends_where_what_to_ask_ends() -> None:
    ended: list[Measurement] = []
    await loop_of(HeldSender(), ended, iter([Ask("chat", {})] * 3)).closed(7, Extent())
    assert len(ended) == 3


async def test_a_closed_loop_sends_for_its_time_and_waits_for_what_is_under_way() -> None:
    gate = asyncio.Event()
    sender = HeldSender(gate)
    ended: list[Measurement] = []
    running = asyncio.ensure_future(loop_of(sender, ended).closed(3, Extent(seconds=0.05)))
    await asyncio.sleep(0.1)
    assert not running.done()
    gate.set()
    await running
    assert len(ended) == 3


async def test_an_open_loop_waits_for_nobody_and_counts_from_when_a_request_was_due() -> None:
    gate = asyncio.Event()
    sender = HeldSender(gate)
    ended: list[Measurement] = []
    running = asyncio.ensure_future(loop_of(sender, ended).open(Arrivals(1000, regular=True), Extent(requests=40)))
    await sender.has_sent(40)
    assert sender.at_once == 40
    await asyncio.sleep(0.05)
    gate.set()
    await running
    first = min(one.due for one in ended)
    offsets = sorted(one.due - first for one in ended)
    assert offsets == pytest.approx([number / 1000 for number in range(40)], abs=1e-6)
    # Whenever it was sent, and however long the server held it: the wait counts.
    assert all(one.end_to_end_s >= one.ended - one.sent for one in ended)
    assert all(one.sent >= one.due for one in ended)


async def test_a_stalled_client_hides_nothing() -> None:
    """The event loop stands still for 0.2 s: requests due meanwhile are late, and their latency says so."""
    ended: list[Measurement] = []
    loop = asyncio.get_running_loop()
    loop.call_later(0.01, time.sleep, 0.2)
    await loop_of(HeldSender(), ended).open(Arrivals(100, regular=True), Extent(requests=15))
    late = [one for one in ended if one.sent - one.due > 0.05]
    assert len(late) >= 10
    assert all(one.end_to_end_s > 0.05 for one in late)


@pytest.mark.parametrize("way", ["closed", "open"])
async def test_a_loop_whose_requests_all_fail_ends(way: str) -> None:
    sender = HeldSender(fails=lambda _: True)
    ended: list[Measurement] = []
    loop = loop_of(sender, ended)
    if way == "closed":
        await asyncio.wait_for(loop.closed(50, Extent(seconds=60)), 30)
    else:
        await asyncio.wait_for(loop.open(Arrivals(5000), Extent(seconds=60)), 30)
    assert loop.all_failed
    assert 50 <= len(ended) <= 200


async def test_a_full_server_that_refuses_what_comes_next_ends_nothing() -> None:
    """It answers the first ten, slowly, and refuses hundreds meanwhile."""
    gate = asyncio.Event()

    class FullSender(HeldSender):
        async def send(self, ask: Ask, measurement: Measurement) -> None:
            self.gate = gate if self.sent < 10 else None
            await super().send(ask, measurement)

    sender = FullSender(fails=lambda number: number >= 10)
    ended: list[Measurement] = []
    loop = loop_of(sender, ended)
    running = asyncio.ensure_future(loop.open(Arrivals(20_000), Extent(requests=300)))
    await sender.has_sent(300)
    gate.set()
    await running
    assert not loop.all_failed
    assert (len(ended), sum(one.succeeded for one in ended)) == (300, 10)


async def test_failures_among_successes_end_nothing() -> None:
    sender = HeldSender(fails=lambda number: number % 2 == 1)
    ended: list[Measurement] = []
    loop = loop_of(sender, ended)
    await loop.open(Arrivals(20_000), Extent(requests=300))
    assert not loop.all_failed
    assert sum(one.succeeded for one in ended) == 150


@pytest.mark.parametrize("way", ["closed", "open"])
async def test_a_loop_that_is_cancelled_gives_up_what_is_under_way(way: str) -> None:
    sender = HeldSender(asyncio.Event())
    ended: list[Measurement] = []
    loop = loop_of(sender, ended)
    work = loop.closed(4, Extent()) if way == "closed" else loop.open(Arrivals(10_000), Extent(requests=4))
    task = asyncio.ensure_future(work)
    await sender.has_sent(4)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (loop.given_up, sender.under_way, ended) == (4, 0, [])


@pytest.mark.parametrize(
    "arrivals", [Arrivals(8), Arrivals(8, regular=True), Arrivals(8, at_once=10), Arrivals(8, at_once=10, regular=True)]
)
def test_arrivals_have_their_rate_and_their_bursts_and_repeat_for_a_seed(arrivals: Arrivals) -> None:
    due = list(itertools.islice(arrivals.due(1), 20_000))
    assert due == sorted(due)
    assert len(due) / due[-1] == pytest.approx(8, rel=0.1)
    assert due == list(itertools.islice(arrivals.due(1), 20_000))
    sizes = {len(list(group)) for _, group in itertools.groupby(due)}
    assert sizes == {arrivals.at_once}
    if not arrivals.regular:
        assert due != list(itertools.islice(arrivals.due(2), 20_000))
        gaps = [after - before for before, after in itertools.pairwise(due) if after > before]
        mean = sum(gaps) / len(gaps)
        deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
        # Of a Poisson process the gaps deviate by as much as their mean is.
        assert deviation == pytest.approx(mean, rel=0.15)
