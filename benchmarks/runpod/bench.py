"""`make bench-runpod`: the RunPod door against the emulated platform, echo engine, injected POST round trips.

Three parts:

* streams at 50 tokens/s: how late each token reaches the platform, for drain, for fixed sizes, and for one item an
  event, as RunPod's own LLM worker sends them;
* jobs that take no time: how many a second, of our loop and of the SDK's;
* how soon a worker takes its first job, how soon it ends, and what it weighs.

The platform runs in this process, the worker in one of its own. Writes benchmarks/runpod/results.md.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform as machine
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from rich.console import Console

from engineroom_workers.emulator.jobs import Job, JobRequest
from engineroom_workers.emulator.testing import RunningEmulator, running_emulator

ENGINEROOM = str(Path(sys.executable).with_name("engineroom"))
RESULTS = Path(__file__).with_name("results.md")
RATE, TOKENS = 50, 200
IDEAL = (TOKENS - 1) / RATE
POLICIES: Mapping[str, int | None] = {"drain": None, "fixed 5": 5, "fixed 50": 50, "1 an event": 1}
_TOKEN = re.compile(rb'\\"delta\\":\{\\"content\\":\\"[^\\]')
STARTS = 20
LIFE_EXPECTED = "Expected: first job-take and end of an idle worker within 0.5 s each, at most 60 MB."
console = Console()


@contextmanager
def worker(platform: RunningEmulator, **settings: object) -> Iterator[subprocess.Popen[bytes]]:
    """A worker on the echo engine."""
    environ = {name: str(value) for name, value in settings.items()}
    child = subprocess.Popen(
        [ENGINEROOM, "runpod"],
        env={**os.environ, **platform.worker_environment(), "ENGINE": "echo", "LOG_LEVEL": "WARNING", **environ},
        stdout=subprocess.DEVNULL,
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait(10)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def megabytes(pid: int, field: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0]) / 1024


def submit(platform: RunningEmulator, value: Any) -> Job:
    return platform.emulator.submit(JobRequest(msgspec.Raw(msgspec.json.encode(value))))


@dataclass
class Streams:
    """One cell of the first table; milliseconds but for `wall` (seconds, median) and `worst` (seconds)."""

    first: float
    lag50: float
    lag99: float
    wall: float
    worst: float
    posts: int
    cpu: float


async def streams(platform: RunningEmulator, pid: int, count: int, rtt: float, size: int | None) -> Streams:
    """Run `count` streams at once. A token's lag is its arrival less when the engine had it due."""
    platform.faults.rtt_ms = rtt
    batching = {} if size is None else {"max_batch_size": size, "min_batch_size": size, "batch_size_growth_factor": 1}
    job = {
        "openai_route": "/v1/chat/completions",
        "openai_input": {
            "model": "echo",
            "messages": [{"role": "user", "content": "tick "}],
            "stream": True,
            "max_tokens": TOKENS,
            "ignore_eos": True,
            "echo_tokens_per_s": RATE,
        },
        **batching,
    }
    cpu = cpu_seconds(pid)
    jobs = [submit(platform, job) for _ in range(count)]
    for each in jobs:
        await platform.finished(each.id, 120)
    cpu = cpu_seconds(pid) - cpu
    lags, firsts, walls = [], [], []
    for each in jobs:
        assert each.status == "COMPLETED", each.timeline()
        assert each.taken_at is not None
        number = 0
        for chunk, arrival in zip(each.chunks, each.arrivals, strict=True):
            for _ in _TOKEN.findall(bytes(chunk)):
                lags.append(1000 * (arrival - each.taken_at - number / RATE))
                if number == 0:
                    firsts.append(lags[-1])
                number += 1
        assert number == TOKENS, f"{number} tokens"
        walls.append(each.arrivals[-1] - each.taken_at)
    cuts = statistics.quantiles(lags, n=100)
    posts = sum(each.posts["stream"] for each in jobs)
    return Streams(statistics.median(firsts), cuts[49], cuts[98], statistics.median(walls), max(walls), posts, cpu)


async def stream_table(rtts: Sequence[int], counts: Sequence[int]) -> str:
    rows = [
        "| POST RTT ms | streams | policy | first token ms | token lag p50 / p99 ms | 200 tokens in s (worst) | POSTs |"
        " worker CPU s |",
        "|---:|---:|---|---:|---:|---:|---:|---:|",
    ]
    async with running_emulator(hold=20) as platform:
        with worker(platform, MAX_CONCURRENCY=300) as child:
            await platform.polled()
            await streams(platform, child.pid, 5, 0, None)
            for rtt in rtts:
                for count in counts:
                    for policy, size in POLICIES.items():
                        got = await streams(platform, child.pid, count, rtt, size)
                        rows.append(
                            f"| {rtt} | {count} | {policy} | {got.first:.0f} | {got.lag50:.0f} / {got.lag99:.0f} | "
                            f"{got.wall:.2f} ({got.worst:.2f}) | {got.posts} | {got.cpu:.2f} |"
                        )
                        console.print(rows[-1])
            rows.append(
                f"\nThe worker at its largest, after all of these: {megabytes(child.pid, 'VmHWM'):.0f} MB resident."
            )
    return "\n".join(rows)


async def jobs_a_second(loop: str, concurrency: int, rtt: float) -> float:
    async with running_emulator(hold=5) as platform:
        platform.faults.rtt_ms = rtt
        with worker(platform, MAX_CONCURRENCY=concurrency, JOB_LOOP=loop):
            await platform.polled(timeout=60)
            value = {"prompt": "hi", "sampling_params": {"max_tokens": 1}}
            jobs = [submit(platform, value) for _ in range(8 * concurrency)]
            for job in jobs:
                await platform.finished(job.id, 120)
            began = min(job.taken_at or 0 for job in jobs)
            return len(jobs) / (max(job.done_at or 0 for job in jobs) - began)


async def job_table() -> str:
    rows = ["| POST RTT ms | at a time | jobs/s | the SDK's own loop |", "|---:|---:|---:|---:|"]
    for rtt in (0, 20):
        for concurrency in (1, 30, 300):
            ours = await jobs_a_second("engineroom", concurrency, rtt)
            theirs = await jobs_a_second("sdk", concurrency, rtt)
            rows.append(f"| {rtt} | {concurrency} | {ours:.1f} | {theirs:.1f} |")
            console.print(rows[-1])
    return "\n".join(rows)


async def life_table(times: int) -> str:
    starts, ends, sizes = [], [], []
    for _ in range(times):
        async with running_emulator(hold=20) as platform:
            began = time.time()
            with worker(platform, HAND_BACK="half_close") as child:
                await platform.polled()
                polled = next(iter(platform.emulator.workers.by_id.values())).first_poll_at
                starts.append((polled or 0) - began)
                await asyncio.sleep(1)
                sizes.append(megabytes(child.pid, "VmRSS"))
                began = time.monotonic()
                child.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(child.wait, 30) == 0
                ends.append(time.monotonic() - began)
    table = f"""| | median | worst of {times} |
|---|---:|---:|
| start of the process to its first job-take, s | {statistics.median(starts):.2f} | {max(starts):.2f} |
| SIGTERM to the end of an idle worker that half-closes its poll, s | {statistics.median(ends):.2f} | {max(ends):.2f} |
| resident memory when idle, MB | {statistics.median(sizes):.0f} | {max(sizes):.0f} |"""
    console.print(table)
    return table


async def remeasure_life() -> None:
    """Measure the last part again and put it in the place of what results.md has."""
    before, heading, _ = RESULTS.read_text().partition("## A worker's life\n")
    load, life = os.getloadavg()[0], await life_table(STARTS)
    note = f"\nMeasured by itself (`ARGS=--life`), load {load:.1f} before. {LIFE_EXPECTED}\n\n"
    RESULTS.write_text(before + heading + note + life + "\n")


async def main(quick: bool) -> None:
    rtts, counts = ((20, 50), (30, 200)) if quick else ((0, 20, 50, 100), (1, 30, 200, 300))
    load = os.getloadavg()[0]
    life = await life_table(3 if quick else STARTS)
    jobs = await job_table()
    table = await stream_table(rtts, counts)
    if quick:
        return
    RESULTS.write_text(f"""# The RunPod door, measured

Written by `make bench-runpod` on {time.strftime("%Y-%m-%d")}: {os.cpu_count()} cores, {machine.system()}, Python \
{machine.python_version()}, load {load:.1f} before. The platform is the emulator, in one process; the worker is \
another, on the echo engine. Round trips are injected into each POST.

## Streams

{TOKENS} tokens a stream at {RATE}/s, so {IDEAL:.2f} s at best. A token's lag is from when the engine had it due to
when its POST took effect, counted from the moment at which the platform handed the job out. Expected of drain: at
50 ms and 30 streams a first token after at most 80 ms, a lag of at most 90 ms (p50) and 4.2 s in all; at 20 ms and
200 or 300 streams 4.6 s in all. A job's POSTs follow one another: the platform keeps items in the order in which they
arrive, and two on their way at once could arrive in either, as could a result before its last item. POSTs of different
jobs do not wait for each other.

{table}

## Jobs that take no time

Bursts of eight times as many as may run at a time; from the first one taken to the last result. Expected: ten times
the SDK's own loop at 1 and 30 at a time and 20 ms.

{jobs}

## A worker's life

{LIFE_EXPECTED}

{life}
""")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="A few cells only, written nowhere.")
    parser.add_argument("--life", action="store_true", help="The last part only, in the place of what is written.")
    # An image has its modules compiled, and so has a checkout from the second start on.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    arguments = parser.parse_args()
    uvloop.run(remeasure_life() if arguments.life else main(arguments.quick))
