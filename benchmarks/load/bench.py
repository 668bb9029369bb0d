"""`make bench-load`: whether `engineroom bench` measures what is there, and what it costs itself.

A source of events with a known first token and a known pace is measured at 1, 16 and 200 streams, and 10,000 requests
are sent in one run. With `ARGS=--against`, guidellm and aiperf measure a source as well, in turn with ours, each in an
environment of its own (gigabytes from PyPI). Writes benchmarks/load/results.md, or against.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from others import compare
from processes import ENGINEROOM, Others, free_port, machine, running, until
from programs_timed import timed
from rich.console import Console

HERE = Path(__file__).parent
SOURCE = HERE.parent / "http" / "source.py"
FIRST_MS = 30
TOKEN_MS = 20
IDLE_MS = 4000
STREAMS = {1: 10, 16: 160, 200: 1200}
"""Streams at once -> requests."""

console = Console()


@contextmanager
def source() -> Iterator[str]:
    """The URL of a source of events."""
    port = free_port()
    with running([sys.executable, str(SOURCE), str(port)]):
        until(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}"


def measured(url: str, folder: Path, streams: int, requests: int, tokens: int, first_ms: int) -> dict[str, Any]:
    """The only stage of a run of `engineroom bench`."""
    file = folder / "report.json"
    options = ["-c", str(streams), "-n", str(requests), "--output-tokens", str(tokens), "--input-tokens", "32"]
    fields = ["-f", f"first_ms={first_ms}", "-f", f"rate={1000 / TOKEN_MS:g}"]
    timed([ENGINEROOM, "bench", url, "-m", "source", *options, *fields, "--json", str(file)])
    return dict(json.loads(file.read_text())["stages"][0])


def accuracy(folder: Path) -> list[str]:
    lines = [
        f"### A source with {FIRST_MS} ms to the first token and {TOKEN_MS} ms a token",
        "",
        "| streams | requests | TTFT, ms: P50 / P95 / P99 | a token, ms: P50 / P99 | inter-token, ms: P50 / P95 / P99 "
        "| own CPU, µs a token | ms a second |",
        "|---|---|---|---|---|---|---|",
    ]
    with source() as url:
        for streams, requests in STREAMS.items():
            stage = measured(url, folder, streams, requests, 100, FIRST_MS)
            ttft = stage["ttft"]
            token = stage["token"]
            gaps = stage["inter_token"]
            lines.append(
                f"| {streams} | {stage['succeeded']:,} | {ttft['median']:.1f} / {ttft['p95']:.1f} / {ttft['p99']:.1f} "
                f"| {token['median']:.2f} / {token['p99']:.2f} "
                f"| {gaps['median']:.1f} / {gaps['p95']:.1f} / {gaps['p99']:.1f} "
                f"| {stage['own_cpu_us_a_token']:.1f} | {1000 * stage['own_cpu_share']:.1f} |"
            )
        idle = measured(url, folder, 1, 2, 1, IDLE_MS)
    lines += [
        "",
        "Own CPU is that of the whole process during a stage: requests, statistics, display, looks at /metrics. A "
        f"stage that only waits, for {IDLE_MS / 1000:g} s at a time, used {1000 * idle['own_cpu_share']:.1f} ms a "
        "second: what is more comes with the tokens. Whatever arrives alone wakes the process, and few streams have "
        "few tokens that arrive together.",
    ]
    return lines


def memory(folder: Path) -> list[str]:
    lines = [
        "### Memory over the length of a run, 200 streams, 20 tokens an answer",
        "",
        "| requests | succeeded | peak memory, MB | own CPU, µs a token |",
        "|---|---|---|---|",
    ]
    with source() as url:
        for requests in (1_000, 10_000):
            stage = measured(url, folder, 200, requests, 20, FIRST_MS)
            lines.append(
                f"| {requests:,} | {stage['succeeded']:,} | {stage['own_memory_mb']:.0f} "
                f"| {stage['own_cpu_us_a_token']:.1f} |"
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--against", action="store_true", help="compare with guidellm and aiperf instead")
    parser.add_argument("--at", type=Path, default=Path(".build/load-generators"), help="where their environments are")
    options = parser.parse_args()
    busy = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name, Others() as others:
        folder = Path(name)
        if options.against:
            with source() as url:
                lines = compare(url, folder, options.at.resolve(), console)
        else:
            lines = [*accuracy(folder), "", *memory(folder)]
    lines += ["", f"Others used {100 * others.share:.0f} % of the machine meanwhile; load average before: {busy:.1f}."]
    console.print("\n".join(lines), markup=False)
    file = HERE / ("against.md" if options.against else "results.md")
    command = "make bench-load ARGS=--against" if options.against else "make bench-load"
    title = "`engineroom bench` beside guidellm and aiperf" if options.against else "`engineroom bench`, measured"
    head = f"# {title}\n\n`{command}`; source and load generator share {machine()}.\n\n"
    file.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
