"""Servers that the door might stand on, each with the same app that streams by itself."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import psutil
from hop import figure, request_us, stream
from processes import free_port, running, until
from proxies import HEADERS, HERE, THEIRS, MeasuredProxy
from rich.console import Console
from rich.progress import Progress
from rounds import ChatServer

STREAMS = (16, 200)
TOKENS = 100
REQUESTS = 10
SERVERS: Mapping[str, str] = {
    "ours": "uvicorn's httptools protocol, with our `send` and our limits",
    "httptools": "uvicorn's httptools protocol",
    "zttp": "uvicorn's zttp protocol",
    "granian": "granian, which is written in Rust",
}


@contextmanager
def server(name: str) -> Iterator[MeasuredProxy | None]:
    """A server with the app; None where it is not installed."""
    port = free_port()
    python = sys.executable if name == "ours" else str(THEIRS / "python")
    command = [python, str(HERE / "bare_stream.py"), name, str(port)]
    if name == "granian":
        command = [str(THEIRS / "granian"), "--interface", "asgi", "--port", str(port), "--http", "1", "--no-ws"]
        command += ["--loop", "uvloop", "--log-level", "error", "--backlog", "1024", "bare_stream:app"]
    if not os.path.exists(command[0]):
        yield None
        return
    with running(command, {"PYTHONPATH": str(HERE)}) as child:
        until(f"http://127.0.0.1:{port}/health", child=child)
        workers = psutil.Process(child.pid).children() if name == "granian" else []
        yield MeasuredProxy(ChatServer(port, HEADERS), workers[0].pid if workers else child.pid)


async def measure(rounds: int, console: Console) -> dict[str, Any]:
    """By server: `cpu_us` and `ttft_ms` by streams, and `request_us`; a value a round."""
    measured: dict[str, Any] = {}
    with ExitStack() as stack, Progress(console=console, transient=True) as progress:
        task = progress.add_task("servers", total=(rounds + 1) * len(SERVERS) * len(STREAMS))
        targets: dict[str, MeasuredProxy] = {}
        for name in SERVERS:
            target = stack.enter_context(server(name))
            if target is not None:
                targets[name] = target
                measured[name] = {"cpu_us": {n: [] for n in STREAMS}, "ttft_ms": {n: [] for n in STREAMS}}
                measured[name]["request_us"] = []
        for number in range(rounds + 1):
            for n in STREAMS:
                for name, target in targets.items():
                    result = await stream(target, n, TOKENS if number else 10)
                    if number:
                        measured[name]["cpu_us"][n].append(result.cpu_us)
                        measured[name]["ttft_ms"][n].append(result.ttft_ms)
                    progress.advance(task)
            for name, target in targets.items():
                spent = await request_us(target, REQUESTS)
                if number:
                    measured[name]["request_us"].append(spent)
    return measured


def report(measured: Mapping[str, Any]) -> list[str]:
    """A row for each server."""
    streams = list(next(iter(measured.values()))["cpu_us"])
    columns = [f"CPU µs a token, {n} streams" for n in streams]
    columns += ["CPU µs a request", *(f"TTFT ms, {n} at once" for n in streams)]
    rows = [
        "### Servers that the door might stand on",
        "",
        "The same app on each, which streams 50 tokens/s a stream by itself. In brackets: lowest and highest of the "
        "rounds.",
        "",
        f"| | {' | '.join(columns)} |",
        f"|---|{'---:|' * len(columns)}",
    ]
    for name, values in measured.items():
        cells = [_cell(values["cpu_us"][n]) for n in streams]
        cells += [_cell(values["request_us"]), *(_cell(values["ttft_ms"][n]) for n in streams)]
        rows.append(f"| {SERVERS[name]} | {' | '.join(cells)} |")
    return rows


def _cell(values: list[float]) -> str:
    return f"{figure(statistics.median(values))} ({figure(min(values))} to {figure(max(values))})"
