"""`make bench-hangs`: how long a hung engine goes unnoticed at each door, and that one which works for long is not
taken for hung. Writes benchmarks/siege/hangs.md, in eight minutes at most; `ARGS=--quick` takes two and writes nothing.

Processes of llama.cpp are stopped (SIGSTOP) and let go on, and so is vLLM's engine core alone, whose front end goes on
answering. At the HTTP door it is noticed once `/ping` answers with another status than 200; on the queue, once the
worker takes no more jobs: its poll is gone, and it says so. Half the hangs begin while a request runs, half while none
does. Both engines also get work that takes one request long, a prompt of thousands of tokens and a schema far beyond
the limits, and an alarm would be a false one. Work that is not done in time is broken off, and the table says so.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.posting import post
from support.processes import ENGINEROOM, free_port, machine, running, status_of, until

from engineroom.process import descendants
from engineroom.testing import stopped
from engineroom_workers.emulator.testing import running_emulator

SETTINGS = {"ENGINE": "llamacpp", "CTX_SIZE": "16384", "PARALLEL": "2", "THREADS": "1"}
UNLIMITED = dict.fromkeys(("MAX_WAYS", "MAX_SCHEMA_ENTRIES", "MAX_SCHEMA_KB"), "0")
STORY = {"messages": [{"role": "user", "content": "Tell a long story."}], "ignore_eos": True, "max_tokens": 1500}
LIMIT_S = 60
START_S = 180
RESULTS = Path(__file__).with_name("hangs.md")
ROOT = Path(__file__).resolve().parents[2]
VLLM_PYTHON = ROOT / ".venv-vllm" / "bin" / "python"
VLLM = {
    "ENGINE": "vllm",
    "VLLM_PYTHON": str(VLLM_PYTHON),
    "MODEL_NAME": str(ROOT / ".build" / "SmolLM2-135M-Instruct"),
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "ENFORCE_EAGER": "true",
    "MAX_MODEL_LEN": "8192",
    "MAX_NUM_BATCHED_TOKENS": "8192",
}
"""A whole prompt is one step of its scheduler, in which nothing can be seen to move."""


class Noticed(NamedTuple):
    """Seconds until each hang was noticed, and until the engine was ready again once it went on."""

    noticed: list[float]
    ready: list[float]


def all_of_them(door: int) -> list[int]:
    """An engine's processes, with the reaper above them."""
    return descendants(door)


def core_of_vllm(door: int) -> list[int]:
    """The process of vLLM that generates."""
    return [pid for pid in descendants(door) if b"EngineCore" in Path(f"/proc/{pid}/cmdline").read_bytes()]


class HttpDoor(NamedTuple):
    """A running HTTP door."""

    pid: int
    url: str


@contextlib.contextmanager
def http_door(settings: Mapping[str, str]) -> Iterator[HttpDoor]:
    """The door over an engine that is ready."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running([ENGINEROOM, "serve"], {**settings, "PORT": str(port), "STOP_TIMEOUT": "1"}) as door:
        until(f"{url}/ping", seconds=START_S, child=door)
        yield HttpDoor(door.pid, url)


def at_http(repeats: int) -> Noticed:
    """llama.cpp at the HTTP door."""
    with http_door(SETTINGS) as door:
        return hang(door, repeats, all_of_them)


def hang(door: HttpDoor, repeats: int, hung: Callable[[int], list[int]]) -> Noticed:
    """Have the engine behind a door hang.

    Args:
        hung: the processes to stop, of those below the door.
    """
    noticed, ready = [], []
    for number in range(repeats):
        with _request(f"{door.url}/v1/chat/completions") if number % 2 else contextlib.nullcontext():
            began = time.perf_counter()
            with stopped(hung(door.pid)):
                while status_of(f"{door.url}/ping") == 200:
                    _check(began)
                    time.sleep(0.02)
                noticed.append(time.perf_counter() - began)
            began = time.perf_counter()
            until(f"{door.url}/ping")
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


class HonestWork(NamedTuple):
    """Honest work: what it is, and the request that makes it."""

    name: str
    request: Mapping[str, Any]


_WORDS = "one two three four five six seven eight nine ten "


def long_prompt(tokens: int) -> HonestWork:
    """A prompt of so many words, each of them a token."""
    words = [{"role": "user", "content": _WORDS * (tokens // 10)}]
    return HonestWork(f"a prompt of {tokens:,} tokens", {"messages": words, "max_tokens": 1})


def large_schema(values: int) -> HonestWork:
    """An answer that is one of many texts."""
    texts = [f"every value begins with the same words and goes on {number}" for number in range(values)]
    answer = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"enum": texts}}}
    asked = {"messages": [{"role": "user", "content": "Answer."}], "max_tokens": 24, "response_format": answer}
    return HonestWork(f"an `enum` of {values:,} values that begin alike", asked)


class Workload(NamedTuple):
    """How much of everything.

    repeats: hangs of each kind. tokens: of the long prompt, by engine. values: of the large schema. longest: seconds
    that one piece of work may take.
    """

    repeats: int
    tokens: Mapping[str, int]
    values: int
    longest: float


WHOLE = Workload(6, {"llamacpp": 4_000, "vllm": 7_000}, 3_000, 60)
QUICK = Workload(1, {"llamacpp": 500, "vllm": 1_000}, 300, 20)


class Worked(NamedTuple):
    """What became of one piece of work.

    seconds: that it took. whole: whether it was done in time. silent: the longest time in which a neighbour had no
    answer. alarms: how often the engine was suspected, or not ready.
    """

    work: str
    seconds: float
    whole: bool
    silent: float
    alarms: int


def work(door: HttpDoor, asked: HonestWork, longest: float) -> Worked:
    """Have an engine work for long, a neighbour asking for one token beside it.

    Raises:
        SystemExit: it refused the work.
    """
    silent = 0.0
    unready = 0
    before = _hangs(door)
    began = time.perf_counter()
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(_ask, door, asked.request, longest)
        while not working.done():
            asked_at = time.perf_counter()
            unready += _ask(door, {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}, LIMIT_S) == 503
            silent = max(silent, time.perf_counter() - asked_at)
    seconds = time.perf_counter() - began
    status = working.result()
    if status not in (200, _BROKEN_OFF):
        raise SystemExit(f"{asked.name}: {status}")
    return Worked(asked.name, seconds, status == 200, silent, _hangs(door) - before + unready)


def _hangs(door: HttpDoor) -> int:
    """How often the engine has been suspected."""
    with urllib.request.urlopen(f"{door.url}/metrics", timeout=LIMIT_S) as response:
        metrics = response.read().decode()
    return int(float(metrics.partition("\nengineroom_engine_hangs ")[2].partition("\n")[0]))


_BROKEN_OFF = 0


def _ask(door: HttpDoor, body: Mapping[str, Any], seconds: float) -> int:
    """The status of a chat; 0 where there is none in time."""
    return post(f"{door.url}/v1/chat/completions", json.dumps(body).encode(), seconds).status


class Tables:
    """Both tables, told on the terminal as they grow.

    hangs: lines of the first. works: lines of the second.
    """

    def __init__(self) -> None:
        self.hangs = ["| engine | door | hangs | noticed after, median | at most | ready again after, median |"]
        self.hangs.append("|---|---|---|---|---|---|")
        self.works = [
            "| engine | work | it took | a neighbour's longest wait | false alarms |",
            "|---|---|---|---|---|",
        ]

    def add_hangs(self, engine: str, door: str, figures: Noticed) -> None:
        """A line for hangs of one kind."""
        noticed = figures.noticed
        spread = f"{statistics.median(noticed):.1f} s | {max(noticed):.1f} s"
        line = f"| {engine} | {door} | {len(noticed)} | {spread} | {statistics.median(figures.ready):.1f} s |"
        print(line, flush=True)
        self.hangs.append(line)

    def add_work(self, engine: str, worked: Worked) -> None:
        """A line for work of one kind."""
        took = f"{worked.seconds:.1f} s" if worked.whole else f"broken off after {worked.seconds:.0f} s"
        line = f"| {engine} | {worked.work} | {took} | {worked.silent:.1f} s | {worked.alarms} |"
        print(line, flush=True)
        self.works.append(line)


def measure(workload: Workload) -> Tables:
    """All of it."""
    tables = Tables()
    engines = [("llamacpp", "llamacpp", SETTINGS, all_of_them)]
    if VLLM_PYTHON.exists():
        engines.append(("vllm", "vllm, its engine core alone", VLLM, core_of_vllm))
    else:
        print("vLLM is left out: `make env-vllm` installs it", flush=True)
    for engine, what, settings, hung in engines:
        print(f"{engine} starts", flush=True)
        with http_door({**settings, **UNLIMITED}) as door:
            tables.add_hangs(what, "HTTP", hang(door, workload.repeats, hung))
            for asked in (long_prompt(workload.tokens[engine]), large_schema(workload.values)):
                tables.add_work(engine, work(door, asked, workload.longest))
    tables.add_hangs("llamacpp", "RunPod queue", asyncio.run(on_queue(workload.repeats)))
    return tables


HEADING = """# Engines that hang, and engines that only work

Written by `make bench-hangs`: the top of `hangs.py` says what it does. {machine}. An engine that does not move is
suspected within six seconds, by a tenth of `ENGINE_HANG_TIMEOUT` where that is less.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="little of everything, to see that it runs through")
    options = parser.parse_args()
    tables = measure(QUICK if options.quick else WHOLE)
    if options.quick:
        return
    honest = ["", "## Honest work", "", "No limit on schemas holds here.", ""]
    lines = [*HEADING.format(machine=machine()).splitlines(), "", *tables.hangs, *honest, *tables.works]
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
