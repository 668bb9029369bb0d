"""`make bench-http`: what the HTTP door costs, side by side with what stands behind it, interleaved, medians.

Its parts, of which `ARGS="--only hop"` measures one and prints it:

* hop: a raw source of events at 50 tokens/s a stream, direct and through nginx, vLLM's router, LiteLLM's proxy, a bare
  app and the door: CPU of the proxy a token and a request, time to first token (`--contenders`, `--streams` choose);
* sweep: CPU a token while 1 to 1,000 streams run;
* layers: what each layer of the door adds;
* processes: what several door processes spare the main one;
* servers: others that the door might stand on;
* llamacpp: a small real model, its own server direct and through the door: tokens/s and TTFT;
* echo: the echo engine as fast as it goes: the ceiling of an engine inside the door's process;
* start: how soon the door answers.

Writes benchmarks/http/results.md, results.json, the plot and README.md's rows. `--write` writes all but the last for
one part, and leaves the others.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import hop
import layers
import plot
import proxies
import readme
import servers
import several
import sweep
import uvloop
from hop import MESSAGES
from processes import ENGINEROOM, free_port, machine, rss_mb, running, status_of, until
from rich.console import Console
from rounds import MEANING, ChatServer, compare, median

HERE = Path(__file__).parent
console = Console()


async def llamacpp_part(rounds: int) -> dict[str, Any]:
    port, door_port = free_port(), free_port()
    env = {"ENGINE": "llamacpp", "PARALLEL": "64", "CTX_SIZE": "16384", "LOG_LEVEL": "WARNING"}
    key = {"Authorization": "Bearer none"}
    fields = {"model": "SmolLM2-135M-Instruct", "messages": MESSAGES, "temperature": 0, "ignore_eos": True}
    plans = {
        1: {**fields, "max_tokens": 200},
        16: {**fields, "max_tokens": 60},
    }
    with ExitStack() as stack:
        door = stack.enter_context(running([ENGINEROOM, "serve"], {**env, "PORT": str(door_port)}))
        until(f"http://127.0.0.1:{door_port}/ping")
        stack.enter_context(running([sys.executable, str(HERE / "bare_llamacpp.py"), str(port)], env))
        until(f"http://127.0.0.1:{port}/health")
        # Its server gives a connection a thread for as long as it is open, so each round has new ones.
        targets: dict[str, tuple[ChatServer, int | None]] = {"direct": (ChatServer(port, key, keep=False), None)}
        for name, start in {"nginx": proxies.nginx, "router": proxies.router}.items():
            proxy = stack.enter_context(start(port, key))
            if proxy is not None:
                targets[name] = proxy
        targets["door"] = (ChatServer(door_port), door.pid)
        results = await compare("llama.cpp", targets, plans, rounds, console)
        memory = rss_mb(door.pid)
    rows = [
        "### llama.cpp with SmolLM2-135M: its own server, and the same through the door and others",
        "",
        f"On the {os.cpu_count()} cores that it computes on: what a proxy takes, it lacks. The share is the median of "
        "the rounds.",
        "",
        "| streams | | tokens/s | of direct | TTFT, ms | CPU of the proxy, µs a token |",
        "|---:|---|---:|---:|---:|---:|",
    ]
    shares = {}
    for n in plans:
        for name in targets:
            pairs = zip(results[n, name], results[n, "direct"], strict=True)
            share = statistics.median(through.rate / direct.rate for through, direct in pairs)
            cells = [str(n), name, *(f"{median(results[n, name], what):.1f}" for what in ("rate", "ttft_ms"))]
            cells.insert(3, "" if name == "direct" else f"{100 * share:.1f} %")
            cells.append("" if name == "direct" else f"{median(results[n, name], 'cpu_us'):.0f}")
            rows.append(f"| {' | '.join(cells)} |")
            if name == "door":
                shares[n] = share
    return {"rows": [*rows, "", f"Memory of the door's process after it: {memory:.0f} MB resident."], "shares": shares}


async def echo_part(rounds: int) -> list[str]:
    port = free_port()
    env = {"ENGINE": "echo", "PORT": str(port), "ECHO_TOKENS_PER_S": "20000", "LOG_LEVEL": "WARNING"}
    with running([ENGINEROOM, "serve"], env) as door:
        until(f"http://127.0.0.1:{port}/ping")
        fields = {"model": "echo", "messages": MESSAGES, "ignore_eos": True}
        plans = {
            1: {**fields, "max_tokens": 20000},
            16: {**fields, "max_tokens": 4000},
            64: {**fields, "max_tokens": 1000},
        }
        targets = {"door": (ChatServer(port), door.pid)}
        results = await compare("echo at 20,000 tokens/s", targets, plans, rounds, console)
    rows = [
        "### The echo engine at 20,000 tokens/s a stream: the ceiling of an engine inside the door's process",
        "",
        "| streams | tokens/s | TTFT, ms | CPU, µs a token |",
        "|---|---|---|---|",
    ]
    for n in plans:
        door_results = results[n, "door"]
        rows.append(
            f"| {n} | {median(door_results, 'rate'):,.0f} | {median(door_results, 'ttft_ms'):.1f} "
            f"| {median(door_results, 'cpu_us'):.1f} |"
        )
    return rows


def start_part(rounds: int) -> list[str]:
    """How soon after exec the door answers, and after the engine is ready."""
    ping, ready = [], []
    for _ in range(rounds):
        port = free_port()
        env = {"ENGINE": "llamacpp", "PORT": str(port), "LOG_LEVEL": "WARNING"}
        began = time.perf_counter()
        with running([ENGINEROOM, "serve"], env):
            ping.append(_first_answer(port, began))
            ready.append(until(f"http://127.0.0.1:{port}/health") - began)
    bare = []
    for _ in range(rounds):
        port = free_port()
        began = time.perf_counter()
        with running([sys.executable, str(HERE / "bare_llamacpp.py"), str(port)], {"PARALLEL": "4"}):
            bare.append(until(f"http://127.0.0.1:{port}/health") - began)
    return [
        "### How soon",
        "",
        "| | s after exec, median |",
        "|---|---|",
        f"| `/ping` answers (204) | {statistics.median(ping):.2f} |",
        f"| ready, with llama.cpp | {statistics.median(ready):.2f} |",
        f"| llama.cpp's own server, started bare, ready | {statistics.median(bare):.2f} |",
    ]


def _first_answer(port: int, began: float) -> float:
    while time.perf_counter() < began + 30:
        if status_of(f"http://127.0.0.1:{port}/ping"):
            return time.perf_counter() - began
        time.sleep(0.002)
    raise SystemExit("the door did not answer within 30 s")


class Measurand:
    """One part of the results: what measures it, and what makes rows of that."""

    def __init__(self, measure: Callable[[argparse.Namespace], Any], report: Callable[[Any], list[str]]) -> None:
        self.measure = measure
        self.report = report


def _rows(rows: list[str]) -> list[str]:
    return rows


PARTS = {
    "hop": Measurand(
        lambda options: uvloop.run(hop.measure(options.rounds, options.contenders, options.streams, console)),
        hop.report,
    ),
    "sweep": Measurand(lambda options: uvloop.run(sweep.measure(max(2, options.rounds // 2), console)), sweep.report),
    "layers": Measurand(lambda options: uvloop.run(layers.measure(12 * options.rounds, console)), layers.report),
    "processes": Measurand(
        lambda options: uvloop.run(several.measure(max(1, options.rounds // 2), console)), several.report
    ),
    "servers": Measurand(
        lambda options: uvloop.run(servers.measure(max(2, options.rounds // 2), console)), servers.report
    ),
    "llamacpp": Measurand(lambda options: uvloop.run(llamacpp_part(options.rounds)), lambda part: list(part["rows"])),
    "echo": Measurand(lambda options: uvloop.run(echo_part(min(3, options.rounds))), _rows),
    "start": Measurand(lambda options: start_part(options.rounds), _rows),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="counted rounds of each measurement (3)")
    parser.add_argument("--only", choices=list(PARTS), action="append", help="one part, printed and not written")
    parser.add_argument("--write", action="store_true", help="write the part, and leave the others as they are")
    parser.add_argument("--contenders", nargs="+", default=[], metavar="NAME", help="of the part hop")
    parser.add_argument("--streams", nargs="+", type=int, default=list(hop.STREAMS), help="of the part hop (1 16 200)")
    options = parser.parse_args()
    results = HERE / "results.json"
    data = json.loads(results.read_text(encoding="utf-8")) if results.exists() else {}
    for name in options.only or PARTS:
        load = os.getloadavg()[0]
        began = time.monotonic()
        # As it will be read again: JSON's names are texts.
        measured = json.loads(json.dumps(PARTS[name].measure(options)))
        seconds = round(time.monotonic() - began)
        data[name] = {"measured": measured, "rounds": options.rounds, "load_before": round(load, 1), "seconds": seconds}
        console.print("\n".join(["", *PARTS[name].report(measured), "", _circumstances(data[name])]), markup=False)
        if options.write or not options.only:
            # Part by part: what has been measured is kept, whatever becomes of the next.
            _write(data)
    if not options.only or (options.write and data.keys() >= readme.READS):
        readme.write(data)


def _write(data: dict[str, Any]) -> None:
    """Write the results that there are, and the plot of them."""
    data["machine"] = machine()
    (HERE / "results.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    lines = [
        "# The HTTP door, measured",
        "",
        f"`make bench-http`: rounds after a warm-up, interleaved, medians; client, proxies and engine share "
        f"{data['machine']}. {MEANING}",
    ]
    for name in PARTS:
        if name in data:
            lines += ["", *PARTS[name].report(data[name]["measured"]), "", _circumstances(data[name])]
            if name == "sweep":
                lines += ["", "![CPU of the proxies in µs a token, from 1 to 1,000 streams](streams.svg)"]
    (HERE / "results.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if "sweep" in data:
        plot.draw(data["sweep"]["measured"])


def _circumstances(part: dict[str, Any]) -> str:
    how = f"Measured in {part['seconds']} s with --rounds {part['rounds']}"
    return f"{how}; load average of the machine before: {part['load_before']}."


if __name__ == "__main__":
    main()
