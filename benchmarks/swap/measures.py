"""What is measured of a worker with several models: orders of requests, memory over swaps, and sudden ends."""

from __future__ import annotations

import asyncio
import random
import signal
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil
from baseline import BaselineRun, Costs, FirstComeFirstServed
from worker import Entry, SwapAnswer, SwapWorker, worker

MODELS = 10
ROOM = 3
REQUESTS = 1000
CLIENTS = 48
TOKENS = 20
LOAD_S = 0.4
TOKENS_PER_S = 100
MAX_WAIT_S = 5.0
SWAPS = 200
REAL_SWAPS = 30
KILLS = 8
REAL_REQUESTS = 100
REAL_CLIENTS = 16
REAL_TOKENS = 8
GONE_S = 10.0


class Run(NamedTuple):
    """What one order of requests came to.

    swaps: loads for which another model had to go. waits: until the first token, of all that were answered.
    """

    answers: list[SwapAnswer]
    swaps: int
    loads: int
    seconds: float

    @property
    def failed(self) -> Counter[str]:
        return Counter(answer.status for answer in self.answers if answer.status != "200")

    @property
    def waits(self) -> list[float]:
        return sorted(answer.first_s for answer in self.answers if answer.status == "200")

    def median_of(self, model: int) -> float:
        """P50 of a model's answers, from the request to the last token."""
        whole = [answer for answer in self.answers if answer.status == "200"]
        return statistics.median(answer.all_s for answer in whole if answer.model == model)


def echoes(load_s: float = LOAD_S) -> list[Entry]:
    """Ten stand-ins, each a third of the memory."""
    settings = {"engine": "echo", "memory": "1 GB", "echo_start_s": load_s, "echo_tokens_per_s": TOKENS_PER_S}
    return [{"name": f"m{number}", **settings} for number in range(MODELS)]


def real_models() -> list[Entry]:
    """A small real model under ten names, each with a server of its own."""
    settings = {"engine": "llamacpp", "memory": "1 GB", "ctx_size": 1024, "parallel": 4, "threads": 1}
    return [{"name": f"m{number}", **settings} for number in range(MODELS)]


def serve(entries: Sequence[Entry], order: Sequence[int], clients: int, tokens: int) -> Run:
    """An order of requests on a worker of its own."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {"MODELS_MAX_WAIT": str(MAX_WAIT_S)}
        with worker(entries, ROOM, Path(folder), settings) as served:
            before = served.counts()
            began = time.perf_counter()
            answers = asyncio.run(served.ask_all(order, clients, tokens))
            seconds = time.perf_counter() - began
            after = served.counts()
    return Run(answers, after.unloads - before.unloads, after.loads - before.loads, seconds)


def alone(order: Sequence[int]) -> float:
    """P50 of the hot model on a worker that has no other, asked by as many clients as ask for it among others."""
    hot = [model for model in order if model == 0]
    clients = max(1, round(CLIENTS * len(hot) / len(order)))
    with tempfile.TemporaryDirectory() as folder, worker(echoes()[:1], ROOM, Path(folder)) as served:
        return Run(asyncio.run(served.ask_all(hot, clients, TOKENS)), 0, 0, 0).median_of(0)


def in_order(order: Sequence[int]) -> tuple[BaselineRun, BaselineRun]:
    """Both baselines, with what a load and an answer of a stand-in take."""
    costs = Costs(LOAD_S, TOKENS / TOKENS_PER_S)
    strict = FirstComeFirstServed(ROOM, costs, strict=True).serve(order, CLIENTS)
    relaxed = FirstComeFirstServed(ROOM, costs, strict=False).serve(order, CLIENTS)
    return strict, relaxed


class Memory(NamedTuple):
    """MB of the worker and of all that it has started, with the same number of models loaded: after a fifth of the
    swaps, and in the end."""

    swaps: int
    early: float
    late: float


def memory_over_swaps(entries: Sequence[Entry], swaps: int) -> Memory:
    """One client asks for each model in turn, again and again, so that nearly every request is a swap."""

    async def until(served: SwapWorker, unloads: int) -> float:
        while served.counts().unloads < unloads:
            await served.ask_all(range(MODELS), 1, 2)
        return served.memory()

    async def both(served: SwapWorker) -> tuple[float, float]:
        # What it imports and warms up counts as nobody's leak.
        early = await until(served, swaps // 5)
        return early, await until(served, swaps)

    with tempfile.TemporaryDirectory() as folder, worker(entries, ROOM, Path(folder)) as served:
        early, late = asyncio.run(both(served))
        return Memory(served.counts().unloads, early, late)


class Kill(NamedTuple):
    """What was left of a killed worker. processes: of how many; sockets: files of that kind in its folder."""

    after_s: float
    had: int
    processes: int
    sockets: int


def kill_one(moment: random.Random) -> Kill:
    """Kill a worker (SIGKILL) while models of llama.cpp come and go."""
    with tempfile.TemporaryDirectory() as folder:
        after_s = moment.uniform(0.2, 3)
        with worker(real_models(), ROOM, Path(folder)) as served:
            order = [moment.randrange(MODELS) for _ in range(100)]

            async def ask_and_kill() -> list[psutil.Process]:
                asking = asyncio.ensure_future(served.ask_all(order, 8, REAL_TOKENS))
                await asyncio.sleep(after_s)
                root = psutil.Process(served.pid)
                family = root.children(recursive=True)
                root.send_signal(signal.SIGKILL)
                await asyncio.gather(asking, return_exceptions=True)
                return family

            family = asyncio.run(ask_and_kill())
            _, alive = psutil.wait_procs(family, timeout=GONE_S)
            sockets = [path for path in Path(folder).rglob("*") if path.is_socket()]
            return Kill(after_s, len(family), len(alive), len(sockets))
