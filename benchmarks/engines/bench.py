"""`make bench-engines`: the same model and prompts on every engine that is here, through the HTTP door, interleaved.

First every engine is started and kept, and rounds of 1, 4 and 16 streams go to each in turn, in an order that rotates:
that also warms all caches up. Then each is started alone, several times, for the time to its first token and its
memory.
Last, transformers through the worker beside its own continuous batching in a plain script (bare.py), which also runs
by itself, elsewhere and on a GPU:

    make bench-engines ARGS="--only overhead --python /opt/venv/bin/python --model Qwen/Qwen3-0.6B --page cuda.md"

Writes results.md, results.json and both pictures, unless only a part is asked for.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import uvloop
from contenders import AT_ONCE, CONTENDERS, CONTEXT, MODEL, ROOT, Contender
from overhead import overhead
from processes import Others, alone, cpu_model, free_port, memory_mb, running, tree_cpu_seconds, until
from report import report
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn
from streams import EngineDoor, prompts

HERE = Path(__file__).parent
LOGS = ROOT / ".build" / "bench-engines"
STREAMS = (1, 4, 16)
console = Console()


def empty(contender: Contender) -> dict[str, Any]:
    by_streams: dict[str, dict[str, list[float]]] = {
        what: {str(n): [] for n in STREAMS} for what in ("rates", "ttft_ms")
    }
    return {
        "name": contender.name,
        "weights": contender.weights,
        **by_streams,
        "start_s": [],
        "memory_mb": 0.0,
        "installed_mb": contender.installed_mb,
    }


async def rounds_part(contenders: Sequence[Contender], rows: Sequence[Any], tokens: int, rounds: int) -> list[float]:
    """Fills rates, TTFT and idle CPU into the rows; how much of the machine others used, measurement by measurement."""
    shares: list[float] = []
    with ExitStack() as house, progress() as bar:
        doors: list[tuple[Any, EngineDoor, int]] = []
        task = bar.add_task("", total=len(contenders) + (rounds + 1) * len(STREAMS) * len(contenders))
        for contender, row in zip(contenders, rows, strict=True):
            bar.update(task, description=f"starting {label(contender)}")
            door, pid = house.enter_context(started(contender))
            doors.append((row, door, pid))
            await door.round(prompts(1, 0), 2)
            bar.advance(task)
        bar.update(task, description="idle")
        await asyncio.sleep(5)
        before = [tree_cpu_seconds(pid) for *_, pid in doors]
        await asyncio.sleep(5)
        for (row, _, pid), used in zip(doors, before, strict=True):
            row["idle_cpu"] = (tree_cpu_seconds(pid) - used) / 5
        for number in range(rounds + 1):
            turn = number % len(doors)
            for streams in STREAMS:
                for row, door, pid in (*doors[turn:], *doors[:turn]):
                    bar.update(task, description=f"round {number}: {streams} at {row['name']} {row['weights']}")
                    with alone(pid, [one for *_, one in doors]), Others() as others:
                        result = await door.round(prompts(streams, number), tokens)
                    if number:  # The first round warms up.
                        row["rates"][str(streams)].append(result.tokens / result.seconds)
                        row["ttft_ms"][str(streams)].append(1e3 * statistics.median(result.first))
                        shares.append(others.share)
                    bar.advance(task)
    return shares


async def starts_part(contenders: Sequence[Contender], rows: Sequence[Any], tokens: int, starts: int) -> None:
    """Fills in start-up, and the memory after requests on all slots at once; each engine alone on the machine."""
    memory: dict[int, list[float]] = {number: [] for number in range(len(rows))}
    with progress() as bar:
        task = bar.add_task("", total=starts * len(contenders))
        for turn in range(starts):
            for number, (contender, row) in enumerate(zip(contenders, rows, strict=True)):
                bar.update(task, description=f"start {turn + 1} of {label(contender)}")
                began = time.perf_counter()
                with started(contender) as (door, pid):
                    asked = time.perf_counter()
                    first = (await door.round(prompts(1, turn), 2)).first[0]
                    row["start_s"].append(asked + first - began)
                    await door.round(prompts(AT_ONCE, turn), min(tokens, 16))
                    memory[number].append(memory_mb(pid))
                bar.advance(task)
    for number, row in enumerate(rows):
        row["memory_mb"] = statistics.median(memory[number])


@contextmanager
def started(contender: Contender) -> Iterator[tuple[EngineDoor, int]]:
    """The contender's worker behind its HTTP door, ready, for the length of a block: the door and its process."""
    port, log = free_port(), LOGS / f"{contender.name}-{contender.weights}.log"
    with running([str(contender.command), "serve"], {**contender.settings, "PORT": str(port)}, log) as child:
        until(f"http://127.0.0.1:{port}/ping", seconds=1200, child=child, log=log)
        yield EngineDoor(port), child.pid


def progress() -> Progress:
    columns = Progress.get_default_columns()[:2]
    return Progress(*columns, MofNCompleteColumn(), TimeElapsedColumn(), console=console, transient=True)


def label(contender: Contender) -> str:
    return f"{contender.name} {contender.weights}"


def conditions(options: argparse.Namespace) -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "when": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "model": MODEL.name,
        "context": CONTEXT,
        "at_once": AT_ONCE,
        "rounds": options.rounds,
        "starts": options.starts,
        "tokens": options.tokens,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds of streams (5)")
    parser.add_argument("--starts", type=int, default=2, help="starts of each engine (2)")
    parser.add_argument("--tokens", type=int, default=48, help="tokens of an answer (48)")
    parser.add_argument(
        "--only", choices=["streams", "overhead"], help="a part; nothing is written unless --page says where"
    )
    parser.add_argument(
        "--engines", help="some of them, by name with commas; nothing is written unless --page says where"
    )
    parser.add_argument(
        "--page", type=Path, help="with --engines or --only: the page that is written, beside results.md"
    )
    worker = parser.add_argument_group("the overhead of the worker over transformers' own batching")
    python = ROOT / ".venv-transformers" / "bin" / "python"
    worker.add_argument("--python", type=Path, default=python, help="has transformers and engineroom in it")
    worker.add_argument("--model", nargs="+", default=[str(MODEL)], help="folders or repositories, one after another")
    worker.add_argument("--device", default="auto", help="auto (a GPU where there is one), cpu, cuda")
    worker.add_argument("--dtype", default="bfloat16")
    options = parser.parse_args()
    wanted = options.engines.lower().split(",") if options.engines else None
    if wanted and (unknown := set(wanted) - {one.name.lower() for one in CONTENDERS}):
        parser.error(f"--engines: no {', '.join(unknown)} among {', '.join({one.name for one in CONTENDERS})}")
    asked = [one for one in CONTENDERS if wanted is None or one.name.lower() in wanted]
    missing = [one.missing for one in asked if one.missing]
    measured: dict[str, Any] = {"conditions": conditions(options), "missing": list(dict.fromkeys(missing))}
    for line in measured["missing"]:
        console.print(f"[yellow]{line}")
    if options.only != "overhead":
        here = [one for one in asked if not one.missing]
        measured["rows"] = [empty(one) for one in here]
        measured["others"] = uvloop.run(rounds_part(here, measured["rows"], options.tokens, options.rounds))
        uvloop.run(starts_part(here, measured["rows"], options.tokens, options.starts))
    if options.only != "streams" and not options.python.exists():
        console.print(f"[yellow]no {options.python}: the worker's overhead is left out: make env-transformers")
    elif options.only != "streams":
        given = options.device, options.dtype, options.tokens, options.rounds, LOGS
        measured["overhead"] = [uvloop.run(overhead(options.python, model, *given)) for model in options.model]
    text = report(measured)
    console.print(text, markup=False, soft_wrap=True)
    if options.page is not None and (wanted is not None or options.only is not None):
        (HERE / options.page.name).write_text(text, encoding="utf-8")
    elif options.only is None and wanted is None:
        from plot import draw

        (HERE / "results.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
        (HERE / "results.md").write_text(text, encoding="utf-8")
        draw(measured)


if __name__ == "__main__":
    main()
