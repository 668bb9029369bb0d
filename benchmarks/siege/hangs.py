"""`make bench-hangs`: how long a hung engine goes unnoticed at each door, and that one which works for long is not
taken for hung. Writes benchmarks/siege/hangs.md.

    python benchmarks/siege/hangs.py [REPEATS]

Processes of llama.cpp are stopped (SIGSTOP) and let go on, and so is vLLM's engine core alone, whose front end goes on
answering. At the HTTP door it is noticed once `/ping` answers with another status than 200; on the queue, once the
worker takes no more jobs: its poll is gone, and it says so. Half the hangs begin while a request runs, half while none
does. Then both engines get the longest work that one request makes here, a prompt that fills the context and a schema
far beyond the limits, and an alarm would be a false one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.processes import ENGINEROOM, free_port, machine, running, status_of, until

from engineroom.process import descendants
from engineroom.testing import stopped
from engineroom_workers.emulator.testing import running_emulator

SETTINGS = {"ENGINE": "llamacpp", "CTX_SIZE": "2048", "PARALLEL": "2", "THREADS": "1"}
STORY = {"messages": [{"role": "user", "content": "Tell a long story."}], "ignore_eos": True, "max_tokens": 1500}
LIMIT_S = 60
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
    "START_TIMEOUT": "540",
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


def at_http(
    repeats: int, settings: Mapping[str, str] = SETTINGS, hung: Callable[[int], list[int]] = all_of_them
) -> Noticed:
    """At the HTTP door.

    Args:
        hung: the processes to stop, of those below a door.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    noticed, ready = [], []
    with running([ENGINEROOM, "serve"], {**settings, "PORT": str(port)}) as door:
        until(f"{url}/ping", seconds=600, child=door)
        for number in range(repeats):
            with _request(f"{url}/v1/chat/completions") if number % 2 else contextlib.nullcontext():
                began = time.perf_counter()
                with stopped(hung(door.pid)):
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


class HonestWork(NamedTuple):
    """Honest work: what it is, and the request that makes it."""

    name: str
    request: Mapping[str, Any]


_WORDS = "one two three four five six seven eight nine ten "


def long_prompt(tokens: int) -> HonestWork:
    """A prompt of so many words, each of them a token."""
    words = [{"role": "user", "content": _WORDS * (tokens // 10)}]
    return HonestWork(f"a prompt of {tokens:,} tokens", {"messages": words, "max_tokens": 1})


_VALUES = [f"every value begins with the same words and goes on {number}" for number in range(3_000)]


def _of_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    answer = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    return {"messages": [{"role": "user", "content": "Answer."}], "max_tokens": 24, "response_format": answer}


LARGE_SCHEMA = HonestWork("an `enum` of 3,000 values that begin alike", _of_schema({"enum": _VALUES}))
UNLIMITED = dict.fromkeys(("MAX_WAYS", "MAX_SCHEMA_ENTRIES", "MAX_SCHEMA_KB"), "0")


class Worked(NamedTuple):
    """seconds: that the work took. silent: the longest time in which a neighbour had no answer. alarms: how often the
    engine was suspected, or not ready."""

    work: str
    seconds: float
    silent: float
    alarms: int


def honest(settings: Mapping[str, str], works: tuple[HonestWork, ...]) -> Iterator[Worked]:
    """Have an engine work for long, a neighbour asking for one token beside it."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running([ENGINEROOM, "serve"], {**settings, **UNLIMITED, "PORT": str(port)}) as door:
        until(f"{url}/ping", seconds=600, child=door)
        for work in works:
            silent = 0.0
            unready = 0
            began = time.perf_counter()
            with ThreadPoolExecutor(1) as pool:
                working = pool.submit(_ask, url, work.request)
                while not working.done():
                    asked_at = time.perf_counter()
                    unready += _ask(url, {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}) == 503
                    silent = max(silent, time.perf_counter() - asked_at)
            if working.result() != 200:
                raise SystemExit(f"{work.name}: {working.result()}")
            with urllib.request.urlopen(f"{url}/metrics", timeout=LIMIT_S) as response:
                metrics = response.read().decode()
            hangs = int(float(metrics.partition("\nengineroom_engine_hangs ")[2].partition("\n")[0]))
            yield Worked(work.name, time.perf_counter() - began, silent, hangs + unready)


def _ask(url: str, body: Mapping[str, Any]) -> int:
    """The status of a chat."""
    asked = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(asked, timeout=600) as response:
            response.read()
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def hangs(repeats: int) -> Iterator[str]:
    """The lines of the first table."""
    yield "| engine | door | hangs | noticed after, median | at most | ready again after, median |"
    yield "|---|---|---|---|---|---|"
    yield f"| llamacpp {row('HTTP', at_http(repeats))}"
    yield f"| llamacpp {row('RunPod queue', asyncio.run(on_queue(repeats)))}"
    if VLLM_PYTHON.exists():
        yield f"| vllm, its engine core alone {row('HTTP', at_http(repeats, VLLM, core_of_vllm))}"


def works() -> Iterator[str]:
    """The lines of the second."""
    yield "| engine | work | it took | a neighbour's longest wait | false alarms |"
    yield "|---|---|---|---|---|"
    engines = [("llamacpp", {**SETTINGS, "CTX_SIZE": "16384"}, (long_prompt(7_000), LARGE_SCHEMA))]
    if VLLM_PYTHON.exists():
        engines.append(("vllm", VLLM, (long_prompt(7_000), LARGE_SCHEMA)))
    for name, settings, asked in engines:
        for worked in honest(settings, asked):
            yield (f"| {name} | {worked.work} | {worked.seconds:.1f} s | {worked.silent:.1f} s | {worked.alarms} |")


HEADING = """# Engines that hang, and engines that only work

Written by `make bench-hangs`: the top of `hangs.py` says what it does. {machine}. An engine that does not move is
suspected within six seconds, by a tenth of `ENGINE_HANG_TIMEOUT` where that is less.
"""


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    lines = [*HEADING.format(machine=machine()).splitlines(), ""]
    for line in hangs(repeats):
        print(line, flush=True)
        lines.append(line)
    lines += ["", "## Honest work", "", "No limit on schemas holds here.", ""]
    for line in works():
        print(line, flush=True)
        lines.append(line)
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
