"""`make bench-kills`: what becomes of jobs whose workers are killed at random moments, by SIGTERM and by SIGKILL.

The emulated platform runs in this process four times at once, each with another way to treat a poll that is hung up. On
each there are three workers on the echo engine, processes of their own, and each is killed at its own moment: as it
starts, as it polls, amid a stream, or between a stream's last item and the job's result. A new one takes its place.
Meanwhile one POST in three fails: some before the platform took what it brought, some after it. Once on each platform
all POSTs fail for twenty seconds.

A worker that was killed by SIGKILL is one that the platform misses: its jobs are handed out again, three times in all,
and then they are FAILED. One that was ended by SIGTERM is not missed: whatever it leaves behind is lost.

Ends with 1 if a job was lost, or if a client that uses the helper of docs/runpod.md would have seen a part of a stream
twice. Writes benchmarks/runpod/kills.md.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "support"))

import msgspec
import uvloop
from client_helper import each_once
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from engineroom_workers.emulator.jobs import Job, JobRequest
from engineroom_workers.emulator.options import HungUpPoll
from engineroom_workers.emulator.testing import RunningEmulator, running_emulator

ENGINEROOM = str(Path(sys.executable).with_name("engineroom"))
RESULTS = Path(__file__).with_name("kills.md")
MOMENTS = ("start", "poll", "stream", "done")
TEXT = "the quick brown fox jumps over the lazy dog and does not look back at it"
FAILING = {"fail_stream": 0.2, "fail_done": 0.2, "lose_answers": 1 / 6}
"""Together one POST in three: a fifth is lost, and of the rest the answer of a sixth."""
OUTAGE_S = 20.0
MOMENT_S = 60.0
"""Seconds to wait for a worker's moment; after that it is killed all the same."""
PLATFORMS = get_args(HungUpPoll)
"""What platforms do with a poll that is hung up."""
DRAIN_S = 75.0
"""Seconds that a worker may take to end after SIGTERM, and the queue to become empty in the end."""


@dataclass
class Siege:
    """What happened on one platform."""

    model: HungUpPoll
    kills: Counter[str] = field(default_factory=Counter)
    moments: Counter[str] = field(default_factory=Counter)
    jobs: list[Job] = field(default_factory=list)
    outages: int = 0
    slow_ends: int = 0
    seconds: float = 0.0


class KilledWorker:
    """A worker's process, until its end."""

    def __init__(self, platform: RunningEmulator) -> None:
        self.id = uuid4().hex[:14]
        self._platform = platform
        self.process = subprocess.Popen(
            [ENGINEROOM, "runpod"],
            env={
                **os.environ,
                **platform.worker_environment(self.id),
                "ENGINE": "echo",
                "LOG_LEVEL": "ERROR",
                "MAX_CONCURRENCY": "4",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    @property
    def jobs(self) -> list[Job]:
        """The jobs that the platform counts as this worker's."""
        known = self._platform.emulator.workers.by_id.get(self.id)
        return list(known.jobs.values()) if known else []

    def polls(self) -> bool:
        known = self._platform.emulator.workers.by_id.get(self.id)
        return known is not None and known.first_poll_at is not None

    def at(self, moment: str) -> bool:
        """Whether the worker has come to this moment."""
        if moment == "stream":
            return any(job.chunks for job in self.jobs)
        if moment == "done":
            return any(job.chunks and b"[DONE]" in bytes(job.chunks[-1]) for job in self.jobs)
        return moment == "start" or self.polls()

    async def ended(self, seconds: float) -> bool:
        """Wait for the process to end; whether it has."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.02)
        return True

    async def kill(self, number: signal.Signals) -> bool:
        """Kill it, wait for its end, and let the platform draw its conclusions; false where it had to be forced."""
        self.process.send_signal(number)
        in_time = await self.ended(DRAIN_S)
        if not in_time:
            self.process.kill()
            await self.ended(10)
        workers = self._platform.emulator.workers
        if number is signal.SIGKILL or self.process.returncode == -signal.SIGTERM:
            # At the very start SIGTERM kills Python, too; such a worker has never asked for a job.
            workers.remove(self.id, number.name)
        else:
            known = workers.by_id.pop(self.id, None)
            if known is not None:
                known.stop_ping_timer()
        return in_time


async def besiege(
    siege: Siege, kills: int, workers: int, outage_s: float, until: float, advance: Callable[[], None]
) -> None:
    """Kill workers on one platform, `kills` of them or until it is `until`; then let what is left be done."""
    began = time.monotonic()
    chance = random.Random(f"{siege.model} {kills}")
    async with running_emulator(hold=2.0, hung_up_poll=siege.model) as platform:
        platform.faults.update(FAILING)
        # Each moment with either signal, both in turn, so that few kills are a fair share of all of them.
        numbers = (signal.SIGTERM, signal.SIGKILL)
        plan = [(numbers[(row + place) % 2], moment) for row in (0, 1) for place, moment in enumerate(MOMENTS)]
        order = (plan * (kills // len(plan) + 1))[:kills]
        chance.shuffle(order)
        ending: set[asyncio.Task[None]] = set()
        alive: set[KilledWorker] = set()

        async def end(worker: KilledWorker, number: signal.Signals) -> None:
            siege.slow_ends += not await worker.kill(number)
            alive.discard(worker)

        async def keep_killing() -> None:
            while order and time.monotonic() < until:
                number, moment = order.pop()
                worker = KilledWorker(platform)
                alive.add(worker)
                deadline = time.monotonic() + MOMENT_S
                while not worker.at(moment) and time.monotonic() < deadline:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
                in_time = worker.at(moment)
                longest = {"start": 1.0, "poll": 0.5, "stream": 0.3, "done": 0.0}[moment]
                await asyncio.sleep(chance.uniform(0, longest))
                siege.kills[number.name] += 1
                siege.moments[moment if in_time else "another"] += 1
                task = asyncio.create_task(end(worker, number))
                ending.add(task)
                advance()
                if number is signal.SIGKILL:
                    await task

        feeding = asyncio.create_task(feed(platform, siege, chance))
        away = asyncio.create_task(take_away(platform, siege, chance, outage_s))
        try:
            await asyncio.gather(*(keep_killing() for _ in range(workers)))
            await away
            feeding.cancel()
            alive.update(KilledWorker(platform) for _ in range(2))
            await asyncio.gather(*ending)
            with suppress(TimeoutError):
                await platform.until(
                    lambda: all(job.finished for job in siege.jobs if not left(job, platform)), DRAIN_S
                )
        finally:
            feeding.cancel()
            away.cancel()
            for worker in alive:
                worker.process.kill()
            for task in ending:
                task.cancel()
            await asyncio.gather(*(worker.ended(10) for worker in alive), return_exceptions=True)
    siege.seconds = time.monotonic() - began


def left(job: Job, platform: RunningEmulator) -> bool:
    """Whether a job is lost: in progress, and no worker has it."""
    holders = platform.emulator.workers.by_id.values()
    return job.status == "IN_PROGRESS" and not any(job.id in worker.jobs for worker in holders)


async def feed(platform: RunningEmulator, siege: Siege, chance: random.Random) -> None:
    """Keep a few jobs waiting, with rests in which the workers poll an empty queue."""
    while True:
        while len(platform.emulator.queue) < 6:
            value = chance.choice([chat_stream(), chat_stream(), native_stream(), chat()])
            siege.jobs.append(platform.emulator.submit(JobRequest(msgspec.Raw(msgspec.json.encode(value)))))
        rests = chance.random() < 0.05
        await asyncio.sleep(chance.uniform(0.5, 1.5) if rests else chance.uniform(0.02, 0.1))


async def take_away(platform: RunningEmulator, siege: Siege, chance: random.Random, seconds: float) -> None:
    """Let every POST fail for a while, after the workers have come up."""
    if not seconds:
        return
    await asyncio.sleep(chance.uniform(10, 20))
    platform.faults.update({"fail_stream": 1, "fail_done": 1})
    await asyncio.sleep(seconds)
    platform.faults.update(FAILING)
    siege.outages += 1


def chat(stream: bool = False) -> dict[str, Any]:
    body = {"model": "echo", "messages": [{"role": "user", "content": TEXT}], "echo_tokens_per_s": 60}
    return {"openai_route": "/v1/chat/completions", "openai_input": {**body, "stream": stream}}


def chat_stream() -> dict[str, Any]:
    return chat(stream=True)


def native_stream() -> dict[str, Any]:
    return {"prompt": TEXT, "stream": True, "sampling_params": {"echo_tokens_per_s": 60}, "output_format": "choices"}


def objects(job: Job) -> list[Any]:
    """The objects of a stream, in the order of their arrival."""
    all_objects: list[Any] = []
    for chunk in job.chunks:
        item = msgspec.json.decode(chunk)
        if isinstance(item, str):
            lines = (line for line in item.splitlines() if line.startswith("data: {"))
            all_objects += [msgspec.json.decode(line[6:]) for line in lines]
        else:
            all_objects.append(item)
    return all_objects


def text_of(item: Any) -> str:
    text = ""
    for choice in item.get("choices", ()):
        text += "".join(choice["tokens"]) if "tokens" in choice else choice["delta"].get("content") or ""
    return text


@dataclass
class Outcome:
    """The jobs of a siege, counted.

    doubled: streams in which a part came twice.
    still_doubled: those in which a client with the helper would have seen it, or not found one whole answer.
    wrong: completed jobs whose result is not the answer.
    """

    completed: int = 0
    failed: int = 0
    lost: int = 0
    again: int = 0
    streams: int = 0
    doubled: int = 0
    still_doubled: int = 0
    wrong: int = 0


def judge(siege: Siege) -> Outcome:
    outcome = Outcome()
    helper = each_once()
    for job in siege.jobs:
        outcome.again += job.attempts > 1
        if job.status == "FAILED" and job.error:
            outcome.failed += 1
        elif job.status == "COMPLETED":
            outcome.completed += 1
            judge_answer(job, outcome, helper)
        elif job.status != "IN_QUEUE":
            outcome.lost += 1
    return outcome


def judge_answer(job: Job, outcome: Outcome, helper: Callable[[Iterable[Any]], Iterable[tuple[str, Any]]]) -> None:
    if not job.chunks:
        outcome.wrong += TEXT not in bytes(job.output).decode()
        return
    outcome.streams += 1
    events = [event for event in objects(job) if "delivery" in event]
    outcome.doubled += "".join(map(text_of, events)) != TEXT
    texts: dict[str, str] = {}
    for attempt, event in helper(events):
        texts[attempt] = texts.get(attempt, "") + text_of(event)
    outcome.still_doubled += TEXT not in texts.values() or not all(TEXT.startswith(text) for text in texts.values())


def table(sieges: list[Siege]) -> str:
    rows = [
        "| platform | SIGTERM | SIGKILL | start / poll / stream / done / another | jobs | completed "
        "| failed, with a reason | handed out again | **lost** | streams | a part came twice "
        "| **seen twice, with the helper** | wrong | s |",
        "|---|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for siege in sieges:
        out = judge(siege)
        moments = " / ".join(str(siege.moments[moment]) for moment in (*MOMENTS, "another"))
        rows.append(
            f"| `{siege.model}` | {siege.kills['SIGTERM']} | {siege.kills['SIGKILL']} | {moments} | {len(siege.jobs)} "
            f"| {out.completed} | {out.failed} | {out.again} | **{out.lost}** | {out.streams} | {out.doubled} "
            f"| **{out.still_doubled}** | {out.wrong} | {siege.seconds:.0f} |"
        )
    return "\n".join(rows)


async def run(options: argparse.Namespace, console: Console) -> list[Siege]:
    sieges = [Siege(model) for model in PLATFORMS]
    per_model = options.kills // len(PLATFORMS)
    until = time.monotonic() + options.limit - 2 * DRAIN_S
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("kills", total=per_model * len(PLATFORMS))

        async def one(siege: Siege) -> None:
            await besiege(siege, per_model, options.workers, options.outage, until, lambda: progress.advance(bar))

        await asyncio.gather(*(one(siege) for siege in sieges))
    return sieges


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=600, help="in all, on four platforms")
    parser.add_argument("--workers", type=int, default=3, help="at a time on each platform")
    parser.add_argument(
        "--outage", type=float, default=OUTAGE_S, help="seconds without the platform's POSTs; 0 for none"
    )
    parser.add_argument("--limit", type=float, default=900, help="seconds for all of it; killing ends before")
    parser.add_argument("--no-file", action="store_true", help="print the table only")
    options = parser.parse_args()
    # That a worker is gone is no news here.
    logging.disable(logging.WARNING)
    console = Console(width=240 if not sys.stdout.isatty() else None)
    try:
        sieges = uvloop.run(asyncio.wait_for(run(options, console), options.limit))
    except asyncio.TimeoutError:
        console.print(f"not done within {options.limit:g} s")
        return 2
    rows = table(sieges)
    print(rows)
    outcomes = [judge(siege) for siege in sieges]
    slow = sum(siege.slow_ends for siege in sieges)
    if slow:
        print(f"{slow} workers had not ended {DRAIN_S:g} s after SIGTERM.")
    if not options.no_file:
        command = " ".join(["make bench-kills", *([f'ARGS="{" ".join(sys.argv[1:])}"'] if sys.argv[1:] else [])])
        RESULTS.write_text(f"{HEADING.format(command=command, cores=os.cpu_count())}\n{rows}\n")
    return int(slow > 0 or any(out.lost or out.still_doubled or out.wrong for out in outcomes))


HEADING = """# Workers that are killed

Written by `{command}`, on {cores} cores; the top of `kills.py` says what it does. One POST in three fails
throughout, and all of them for twenty seconds on each platform. A platform is named after what it does with a poll that
is hung up ([docs/runpod.md](../../docs/runpod.md#the-poll-that-is-under-way-at-sigterm)). A worker killed at "another"
moment had not come to its own within a minute.
"""


if __name__ == "__main__":
    sys.exit(main())
