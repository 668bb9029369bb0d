"""`make bench-ray`: our application under Ray Serve beside the HTTP door alone, with the same engine, interleaved.

Three targets, each a set of processes of its own that serves the echo engine:

* `engineroom serve`: the HTTP door;
* `engineroom ray`: one replica behind HAProxy, as it is by default;
* the same behind Serve's own proxy (RAY_SERVE_ENABLE_HA_PROXY=0), which is what a cluster has unless told otherwise.

Streams at 50 tokens/s, short ones one at a time, and 32 at once; 32 without a pace; and 2,000 requests whose clients
leave, after which the engine's own gauge says how many go on. Writes benchmarks/ray/results.md.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import statistics
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import aiohttp
import uvloop
from processes import free_port, machine, running, until
from rich.console import Console
from rounds import MEANING, ChatServer, Round, compare, median

HERE = Path(__file__).resolve().parent
ENGINEROOM = str(HERE.parents[1] / ".venv-ray" / "bin" / "engineroom")
"""All targets are of one environment: the same Python, and the same releases of whatever serves HTTP."""

DOOR, HAPROXY, PROXY = "HTTP door", "Ray, HAProxy", "Ray, Serve's proxy"
FAST = 0
"""In place of a number of streams: 32 without a pace."""

RATE = 50
CANCELS = 2000
AT_ONCE = 50
MESSAGES = [{"role": "user", "content": "Write a long story about a lighthouse keeper and the sea."}]
BODY = {"model": "echo", "messages": MESSAGES, "ignore_eos": True}
_RUNNING = re.compile(r"^engineroom_echo_running(?:{.*})? (\S+)", re.MULTILINE)
console = Console()


class ServedEngine(NamedTuple):
    """How one of them is started."""

    command: str
    settings: Mapping[str, str]


TARGETS = {
    DOOR: ServedEngine("serve", {}),
    HAPROXY: ServedEngine("ray", {"CPUS_PER_REPLICA": "0.5"}),
    PROXY: ServedEngine("ray", {"CPUS_PER_REPLICA": "0.5", "RAY_SERVE_ENABLE_HA_PROXY": "0"}),
}


def start(names: Sequence[str], stack: ExitStack) -> dict[str, int]:
    """Start the targets together; their ports, once all of them serve."""
    ports = {name: free_port() for name in names}
    for name, port in ports.items():
        settings = {"ENGINE": "echo", "PORT": str(port), "LOG_LEVEL": "WARNING", **TARGETS[name].settings}
        stack.enter_context(running([ENGINEROOM, TARGETS[name].command], settings))
    for port in ports.values():
        until(f"http://127.0.0.1:{port}/ping")
    return ports


async def streams(ports: Mapping[str, int], rounds: int) -> dict[tuple[int, str], list[Round]]:
    """Rounds of streams against each target, by the number of streams (or FAST) and target."""
    targets = {name: (ChatServer(port), None) for name, port in ports.items()}
    paced = {**BODY, "echo_tokens_per_s": RATE}
    many = {32: {**paced, "max_tokens": 2 * RATE}}
    results = await compare(f"32 streams of {RATE} tokens/s", targets, many, rounds, console)
    results |= await compare("one short stream", targets, {1: {**paced, "max_tokens": 4}}, 25 * rounds, console)
    fast = await compare("as fast as it goes", targets, {32: {**BODY, "max_tokens": 500}}, rounds, console)
    for server, _ in targets.values():
        server.close()
    return results | {(FAST, name): of_fast for (_, name), of_fast in fast.items()}


async def lost_cancels(port: int) -> int:
    """Leave 2,000 endless streams; how many the engine still works on five seconds later.

    Of three clients one leaves before the response begins, one when it has begun, and one after the first token.
    """
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    body = {**BODY, "stream": True, "max_tokens": 100_000, "echo_tokens_per_s": RATE}

    async def leave(session: aiohttp.ClientSession, number: int) -> None:
        if number % 3 == 0:
            early = {**body, "echo_ttft_ms": 60_000}
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(session.post(url, json=early), 0.02 + number % AT_ONCE / 500)
            return
        async with session.post(url, json=body) as response:
            if number % 3 == 1:
                await response.content.readany()
            response.close()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as session:
        for begin in range(0, CANCELS, AT_ONCE):
            await asyncio.gather(*(leave(session, begin + number) for number in range(AT_ONCE)))
    lost = await asyncio.to_thread(generations, port)
    for _ in range(50):
        if not lost:
            break
        await asyncio.sleep(0.1)
        lost = await asyncio.to_thread(generations, port)
    return lost


async def all_lost_cancels(ports: Mapping[str, int]) -> dict[str, int]:
    """`lost_cancels` of all targets, which run beside each other: they are counted, not timed."""
    numbers = await asyncio.gather(*(lost_cancels(port) for port in ports.values()))
    return dict(zip(ports, numbers, strict=True))


def generations(port: int) -> int:
    """What the engine works on now, by its own gauge."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        match = _RUNNING.search(response.read().decode())
    assert match is not None, "the engine has a gauge of what it works on"
    return int(float(match[1]))


def stream_table(results: Mapping[tuple[int, str], Sequence[Round]], names: Sequence[str]) -> list[str]:
    """The rows on time and throughput."""
    rows = [
        f"| | {' | '.join(names)} |",
        f"|---|{'---|' * len(names)}",
    ]

    def row(label: str, cells: Sequence[str]) -> None:
        rows.append(f"| {label} | {' | '.join(cells)} |")

    for n, label in {1: "TTFT, one stream at a time, ms", 32: "TTFT, 32 streams, ms"}.items():
        ttft = {name: median(results[n, name], "ttft_ms") for name in names}
        row(label, [_beside(ttft[name], ttft[DOOR], name) for name in names])
    for n, label in {32: "tokens/s, 32 streams", FAST: "tokens/s, 32 streams as fast as they go"}.items():
        row(label, [f"{median(results[n, name], 'rate'):,.0f}" for name in names])
        shares = [_share(results[n, name], results[n, DOOR]) for name in names]
        row("of the door's, round by round", [f"{100 * share:.1f} %" for share in shares])
    return rows


def _share(results: Sequence[Round], of_door: Sequence[Round]) -> float:
    return statistics.median(one.rate / door.rate for one, door in zip(results, of_door, strict=True))


def _beside(value: float, door: float, name: str) -> str:
    return f"{value:.1f}" if name == DOOR else f"{value:.1f} ({value - door:+.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="counted rounds of each measurement (3)")
    parser.add_argument("--only", choices=["streams", "cancels"], help="one part, which writes nothing")
    options = parser.parse_args()
    names = list(TARGETS)
    lines = [
        "# The Ray Serve door, measured",
        "",
        f"`make bench-ray`: {options.rounds} rounds after a warm-up ({25 * options.rounds} of one stream), "
        f"interleaved, medians; client, Ray and the echo engine share {machine()}. Each target has one engine. "
        f"{MEANING}",
    ]
    with ExitStack() as stack:
        ports = start(names, stack)
        if options.only != "cancels":
            rows = stream_table(uvloop.run(streams(ports, options.rounds)), names)
            lines += ["", f"## Streams of {RATE} tokens/s", "", *rows]
            print("\n".join(rows))
        if options.only != "streams":
            lost = uvloop.run(all_lost_cancels(ports))
            rows = [
                f"| {CANCELS:,} endless streams, left by their clients, {AT_ONCE} at a time | {' | '.join(names)} |",
                f"|---|{'---|' * len(names)}",
                f"| still generated for nobody five seconds later | {' | '.join(str(lost[name]) for name in names)} |",
            ]
            lines += ["", "## Cancels", "", *rows]
            print("\n".join(rows))
    if not options.only:
        text = "\n".join(lines) + "\n"
        (HERE / "results.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    os.environ.setdefault("RAY_ADDRESS", "")
    main()
