"""A hang is told from work: the judgement by itself, and the watchdog over a stand-in server that is really stopped."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import pytest
from standin.engine import StandinEngine

from engineroom.asgi import request
from engineroom.process import descendants
from engineroom.process.activity import read_activity
from engineroom.watchdog import WELL, Activity, Judgement, Observation, Patience, Watchdog, judge, worked

CHAT = "/v1/chat/completions"
PATIENCE = Patience.of(60, math.inf)


def after(*observations: Observation, patience: Patience = PATIENCE) -> Judgement:
    judgement = WELL
    for observation in observations:
        judgement = judge(judgement, observation, patience)
    return judgement


def seen(**changes: Any) -> Observation:
    """One second in which an engine answered nothing, had requests, moved nothing and did nothing."""
    silent = {"elapsed": 1.0, "answered": False, "moved": False, "awaited": True, "busy": False}
    return Observation(**{**silent, **changes})


@pytest.mark.parametrize(
    ("observation", "seconds", "state"),
    [
        (seen(), 5, "well"),
        (seen(), 6, "suspected"),
        (seen(awaited=False), 6, "suspected"),
        (seen(), 60, "hung"),
        (seen(answered=True), 6, "suspected"),  # Its front answers, and what generates does not.
        (seen(answered=True), 60, "hung"),
        (seen(answered=True, awaited=False), 1000, "well"),
        (seen(busy=True), 1000, "well"),  # A long prompt, and a front that is too busy to answer.
        (seen(busy=True, answered=True), 1000, "well"),
        (seen(moved=True), 1000, "well"),
        (seen(answered=True, busy=None), 1000, "well"),  # The system does not say what it does.
        (seen(busy=None), 60, "hung"),
        (seen(answered=True, awaited=False, stopped=1), 6, "suspected"),  # Its front answers, and its core is stopped.
        (seen(busy=True, stopped=1), 60, "hung"),
    ],
)
def test_what_is_seen_for_so_long_makes_a_hang(observation: Observation, seconds: int, state: str) -> None:
    assert after(*[observation] * seconds).state == state


def test_a_hang_ends_with_an_answer() -> None:
    hang = [seen()] * 20
    assert after(*hang, seen(answered=True, busy=True)).state == "well"
    assert after(*hang, seen(moved=True)).state == "well"
    assert after(*hang, seen(busy=True)).state == "suspected"
    # Nobody waits any more, since nobody was sent there: that alone is no recovery.
    assert after(*[seen(answered=True)] * 20, *[seen(answered=True, awaited=False)] * 20).state == "suspected"


def test_where_work_is_made_of_short_steps_no_step_takes_for_ever() -> None:
    patience = Patience.of(60, 10)
    assert after(*[seen(answered=True, busy=True)] * 299, patience=patience).state == "well"
    assert after(*[seen(answered=True, busy=True)] * 300, patience=patience).state == "suspected"
    assert after(*[seen(answered=True, busy=True)] * 600, patience=patience).state == "hung"


def test_with_0_an_engine_is_never_ended() -> None:
    assert after(*[seen()] * 10_000, patience=Patience.of(0, 10)).state == "suspected"


@pytest.mark.parametrize(
    ("now", "works"),
    [
        (Activity(10.06), True),  # A twentieth of a processor is little, and more than health checks take.
        (Activity(10.04), False),
        (Activity(10.02, waited=20.97), True),  # Others left it a fiftieth, and it waited for the rest.
        (Activity(10.01, waited=20.2), False),  # Health checks on a busy machine.
        (Activity(10, faults=4), True),
        (Activity(10, waited=20, faults=3), False),
        (Activity(9), False),  # One of its processes has ended.
    ],
)
def test_what_takes_a_processor_or_waits_for_one_works(now: Activity, works: bool) -> None:
    before = Activity(10, waited=20, faults=3)
    assert worked(before, now._replace(waited=now.waited or 20, faults=now.faults or 3), elapsed=1) == works


class StandinSilence:
    """Stands in for one that answers nothing, though asked; its processes are real."""

    name = "silent"
    probed = "GET /health"

    def __init__(self, root: int) -> None:
        self._root = root

    def awaited(self) -> int:
        return 1

    def progress(self) -> object:
        return None

    async def counters(self) -> object:
        return None

    async def probe(self) -> bool:
        return await asyncio.Event().wait()

    async def canary(self) -> bool:
        return await asyncio.Event().wait()

    def activity(self) -> Activity | None:
        return read_activity(self._root)


_COMPUTING = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
os.nice(int(sys.argv[2]))
print(os.getpid(), flush=True)
while True: pass
"""


@contextmanager
def computing(niceness: int, *parent: str) -> Iterator[tuple[int, int]]:
    """A process that computes for ever, on one processor that all of them share; the ids of its parent and its own."""
    processor = min(os.sched_getaffinity(0))
    command = [*parent, sys.executable, "-c", _COMPUTING, str(processor), str(niceness)]
    with Popen(command, stdout=PIPE, start_new_session=True) as started:
        assert started.stdout is not None
        try:
            yield started.pid, int(started.stdout.readline())
        finally:
            os.killpg(started.pid, signal.SIGKILL)


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this kernel does not say how long threads wait")
async def test_an_engine_that_others_leave_no_processor_is_not_taken_for_one_that_hangs() -> None:
    shell = ("sh", "-c", '"$@"; true', "sh")  # An engine is watched from its parent.
    with computing(0), computing(0), computing(19, *shell) as (root, pid):
        watchdog = Watchdog(StandinSilence(root), hang_timeout=20)
        watching = asyncio.ensure_future(watchdog.run())
        before = read_activity(root)
        began = time.monotonic()
        await asyncio.sleep(3)
        now = read_activity(root)
        assert before is not None
        assert now is not None
        ran = (now.seconds - before.seconds) / (time.monotonic() - began)
        assert watchdog.suspicion == "", f"it had {ran:.1%} of a processor"
        os.kill(pid, signal.SIGSTOP)
        await until(lambda: watchdog.suspicion)
        watching.cancel()


async def until(condition: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def standin(*arguments: str, generating: str = "", **worker: object) -> AsyncIterator[StandinEngine]:
    class Engine(StandinEngine):
        generating_processes = generating

    engine = Engine(*arguments, **{"ENGINE_HANG_TIMEOUT": 8, **worker})
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


def send(number: signal.Signals, before: set[int]) -> None:
    """A signal to all processes of the engine, its reaper included."""
    for pid in set(descendants(os.getpid())) - before:
        os.kill(pid, number)


async def ask(engine: StandinEngine, **body: Any) -> tuple[int, bytes]:
    async with request(engine.app, "POST", CHAT, body=json.dumps(body).encode()) as response:
        return response.status, await response.read()


async def test_a_stopped_engine_is_noticed_and_goes_on() -> None:
    before = set(descendants(os.getpid()))
    async with standin() as engine:
        stream = asyncio.ensure_future(ask(engine, stream=True, words=40, gap=0.05))
        await until(lambda: engine.app.work.sent > 2)
        send(signal.SIGSTOP, before)
        await until(lambda: not engine.health().ready)
        health = engine.health()
        assert (health.live, health.hung) == (True, True)
        assert "its process stopped" in health.reason
        refused, body = await ask(engine)
        assert (refused, json.loads(body)["error"]["code"]) == (503, "engine_loading")
        assert "left out" in await engine.metrics()
        send(signal.SIGCONT, before)
        await until(lambda: engine.health().ready)
        status, body = await stream
        assert status == 200
        assert body.endswith(b"data: [DONE]\n\n")
        assert engine.hangs == 1


async def test_a_stopped_engine_is_ended() -> None:
    before = set(descendants(os.getpid()))
    async with standin(ENGINE_HANG_TIMEOUT=1, STOP_TIMEOUT=30) as engine:
        caught = asyncio.ensure_future(ask(engine, words=1, gap=50))
        await until(lambda: engine.app.work.running)
        died = asyncio.ensure_future(engine.died())
        send(signal.SIGSTOP, before)
        assert "hung: no answer to GET /health for" in await asyncio.wait_for(died, 30)
        assert not engine.health().live
        status, body = await caught
        assert (status, json.loads(body)["error"]["code"]) == (503, "engine_dead")
        assert b"hung" in body
        await until(lambda: not set(descendants(os.getpid())) - before)


async def test_a_stopped_engine_is_stopped_as_another_is() -> None:
    """It sees the signal to end, and is not waited for until its time is up."""
    before = set(descendants(os.getpid()))
    async with standin(STOP_TIMEOUT=50) as engine:
        send(signal.SIGSTOP, before)
        await asyncio.wait_for(engine.stop(), 40)


async def test_a_server_whose_core_hangs_is_noticed_though_its_front_answers() -> None:
    async with standin("--deaf-after", "1") as engine:
        assert (await ask(engine, words=1))[0] == 200
        waiting = asyncio.ensure_future(ask(engine, words=1))
        await until(lambda: not engine.health().ready)
        assert "nothing generated" in engine.health().reason
        waiting.cancel()


async def test_what_a_front_does_by_itself_hides_no_hang() -> None:
    """A monitor asks for the models, clients send nonsense, comments keep a stream open: its front is busy."""
    async with standin("--deaf-after", "1", "--comments", "--child", generating="^sleep 1000") as engine:
        assert (await ask(engine, words=1))[0] == 200
        waiting = asyncio.ensure_future(ask(engine, stream=True))

        async def go_on_asking() -> None:
            while True:
                for path in ("/v1/models", "/v1/things/1"):
                    async with request(engine.app, "GET", path) as response:
                        await response.read()
                await ask(engine, fault="error")
                await asyncio.sleep(0.01)

        others = asyncio.ensure_future(go_on_asking())
        await until(lambda: not engine.health().ready)
        others.cancel()
        waiting.cancel()


async def test_a_stopped_process_among_others_is_noticed_while_nobody_asks() -> None:
    before = set(descendants(os.getpid()))
    async with standin("--child") as engine:
        child = max(set(descendants(os.getpid())) - before)
        os.kill(child, signal.SIGSTOP)
        await until(lambda: not engine.health().ready)
        os.kill(child, signal.SIGCONT)
        await until(lambda: engine.health().ready)


async def test_requests_that_take_long_are_no_hang() -> None:
    """A server that sleeps over a request, and serves others meanwhile."""
    async with standin(ENGINE_HANG_TIMEOUT=30) as engine:
        status, _ = await ask(engine, words=1, gap=5)
        assert status == 200
        assert engine.hangs == 0
