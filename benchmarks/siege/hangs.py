"""How long a hung engine goes unnoticed at each door: llama.cpp's processes are stopped (SIGSTOP) and let go on.

    python benchmarks/siege/hangs.py [REPEATS]      # prints a Markdown table

At the HTTP door it is noticed once `/ping` answers with another status than 200; on the queue, once the worker takes
no more jobs: its poll is gone, and it says so. Half the hangs begin while a request runs, half while none does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.processes import ENGINEROOM, free_port, machine, running, status_of, until

from engineroom.process import descendants
from engineroom.testing import stopped
from engineroom_workers.emulator.testing import running_emulator

SETTINGS = {"ENGINE": "llamacpp", "CTX_SIZE": "2048", "PARALLEL": "2", "THREADS": "1"}
STORY = {"messages": [{"role": "user", "content": "Tell a long story."}], "ignore_eos": True, "max_tokens": 1500}
LIMIT_S = 60


class Noticed(NamedTuple):
    """Seconds until each hang was noticed, and until the engine was ready again once it went on."""

    noticed: list[float]
    ready: list[float]


def at_http(repeats: int) -> Noticed:
    """At the HTTP door, in which `/metrics` is asked for meanwhile, too."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    noticed, ready = [], []
    with running([ENGINEROOM, "serve"], {**SETTINGS, "PORT": str(port)}) as door:
        until(f"{url}/ping", child=door)
        for number in range(repeats):
            with _request(f"{url}/v1/chat/completions") if number % 2 else contextlib.nullcontext():
                began = time.perf_counter()
                with stopped(descendants(door.pid)):
                    while status_of(f"{url}/ping") == 200:
                        _check(began)
                        time.sleep(0.02)
                    noticed.append(time.perf_counter() - began)
                began = time.perf_counter()
                until(f"{url}/ping")
                ready.append(time.perf_counter() - began)
    return Noticed(noticed, ready)


async def on_queue(repeats: int) -> Noticed:
    """On an emulated RunPod queue."""
    noticed, ready = [], []
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        async with running_emulator(hold=30) as platform:
            settings = {**SETTINGS, **platform.worker_environment("one")}
            with running([ENGINEROOM, "runpod"], settings, log) as worker:
                await platform.polled(timeout=LIMIT_S)
                state = platform.emulator.workers.by_id["one"]
                for number in range(repeats):
                    earlier = log.read_text().count("no jobs are taken")
                    began = time.perf_counter()
                    with stopped(descendants(worker.pid)):
                        while log.read_text().count("no jobs are taken") == earlier:
                            _check(began)
                            await asyncio.sleep(0.02)
                        noticed.append(time.perf_counter() - began)
                    began = time.perf_counter()
                    polls = state.polls
                    while state.polls == polls:
                        _check(began)
                        await asyncio.sleep(0.02)
                    ready.append(time.perf_counter() - began)
                    await asyncio.sleep(number % 3)
    return Noticed(noticed, ready)


@contextlib.contextmanager
def _request(url: str) -> Iterator[None]:
    """A stream that runs for the length of a block."""
    body = json.dumps({**STORY, "stream": True}).encode()
    asked = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=LIMIT_S) as response:
        response.readline()
        yield


def _check(began: float) -> None:
    if time.perf_counter() - began > LIMIT_S:
        raise SystemExit(f"not within {LIMIT_S} s")


def row(door: str, figures: Noticed) -> str:
    """A line of the table."""
    noticed = figures.noticed
    return (
        f"| {door} | {len(noticed)} | {statistics.median(noticed):.1f} s | {max(noticed):.1f} s "
        f"| {statistics.median(figures.ready):.1f} s |"
    )


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    print(f"{machine()}\n")
    print("| door | hangs | noticed after, median | at most | ready again after, median |")
    print("|---|---|---|---|---|")
    print(row("HTTP", at_http(repeats)), flush=True)
    print(row("RunPod queue", asyncio.run(on_queue(repeats))), flush=True)


if __name__ == "__main__":
    main()
