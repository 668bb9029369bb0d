"""`make soak`: clients of every kind at the HTTP door for some minutes, and what its process looks like meanwhile.

Every layer is on, with a real Redis, which is taken away for the middle tenth. Streams, whole answers, hits and misses
of the cache, clients that leave, that vanish, that read slowly or send half a request, wrong keys and wrong requests,
an engine that fails amid answers (tests/support/mixed_load.py). Writes benchmarks/soak/results.md.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import aiohttp
from http_door import serving
from mixed_load import SETTINGS, MixedLoad, Sample
from processes import machine
from redis_server import RedisServer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

HERE = Path(__file__).parent
_EVERY_S = 5


async def soak(minutes: float, clients: int) -> tuple[list[Sample], Sample, MixedLoad]:
    """Samples under load, one after it, and the load with its counts."""
    seconds = 60 * minutes
    with tempfile.TemporaryDirectory() as folder:
        redis = RedisServer(Path(folder))
        try:
            with serving({**SETTINGS, "REDIS_URL": redis.url}) as door:
                load = MixedLoad(door.url, door.process.pid, clients)
                try:
                    samples = await _watched(load, redis, seconds)
                except aiohttp.ClientError as error:
                    raise SystemExit(f"{error!r}; the door: {door.process.poll()}\n{door.log[-5000:]}") from error
                await load.quiet()
                await asyncio.sleep(2)
                after = await load.sample(samples[0].seconds)
                if "Traceback" in door.log:
                    raise SystemExit(door.log[-5000:])
        finally:
            redis.stop()
    return samples, after, load


async def _watched(load: MixedLoad, redis: RedisServer, seconds: float) -> list[Sample]:
    samples: list[Sample] = []
    began = asyncio.get_running_loop().time()
    columns = (
        SpinnerColumn(),
        *Progress.get_default_columns()[1:2],
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    away = False
    with Progress(*columns) as progress:
        task = progress.add_task("", total=seconds)
        async with load.running():
            while (now := asyncio.get_running_loop().time() - began) < seconds:
                if not away and 0.45 * seconds <= now < 0.55 * seconds:
                    away = True
                    await asyncio.to_thread(redis.stop)
                elif away and now >= 0.55 * seconds:
                    away = False
                    await asyncio.to_thread(redis.start)
                samples.append(await load.sample(began))
                last = samples[-1]
                description = f"{last.requests} requests, {last.memory:.1f} MB, {last.files} files, {last.tasks} tasks"
                progress.update(task, completed=now, description=description)
                await asyncio.sleep(min(_EVERY_S, max(0.1, seconds - now)))
    return samples


def table(samples: list[Sample], after: Sample, load: MixedLoad) -> list[str]:
    end = samples[-1].seconds
    rows = ["| minute | requests | memory, MB | open files | threads | tasks |", "|---|---|---|---|---|---|"]
    for minute in range(int(end // 60) + 1):
        part = [sample for sample in samples if 60 * minute <= sample.seconds < 60 * (minute + 1)]
        if part:
            memory = f"{min(s.memory for s in part):.1f} to {max(s.memory for s in part):.1f}"
            counts = (f"{min(s[i] for s in part)} to {max(s[i] for s in part)}" for i in (3, 4, 5))
            rows.append(f"| {minute + 1} | {part[-1].requests} | {memory} | {' | '.join(counts)} |")
    rows.append(
        f"| quiet again | {after.requests} | {after.memory:.1f} | {after.files} | {after.threads} | {after.tasks} |"
    )
    late = [sample for sample in samples if sample.seconds >= end / 3]
    slope = statistics.linear_regression([s.seconds / 60 for s in late], [s.memory for s in late]).slope
    rate = 60 * (late[-1].requests - late[0].requests) / (late[-1].seconds - late[0].seconds)
    summary = f"From the first third on memory changes by {slope:+.2f} MB a minute, at {rate:.0f} requests a minute."
    rows += ["", summary]
    kinds = sorted(load.done.items())
    rows += ["", "| what clients did, and what became of it | times |", "|---|---|"]
    return rows + [f"| {what} | {count} |" for what, count in kinds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=6, help="how long (6)")
    parser.add_argument("--clients", type=int, default=32, help="how many at a time (32)")
    options = parser.parse_args()
    samples, after, load = asyncio.run(soak(options.minutes, options.clients))
    lines = [
        "# The HTTP door, soaked",
        "",
        f"`make soak`: {options.minutes:g} minutes, {options.clients} clients of every kind at a time, every layer on, "
        f"a real Redis that is away for the middle tenth. Clients and door share {machine()}.",
        "",
        *table(samples, after, load),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    (HERE / "results.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
