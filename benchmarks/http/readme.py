"""The rows that README.md's table of figures has of this benchmark's results: a whole run writes them anew."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

README = Path(__file__).resolve().parents[2] / "README.md"
RESULTS = "`make bench-http` ([results](benchmarks/http/results.md))"
READS = frozenset({"hop", "layers", "llamacpp"})
"""The parts of the results that the rows are of."""
OTHERS = ("router", "nginx", "LiteLLM")
PLOT = (
    "<picture>",
    '  <source media="(prefers-color-scheme: dark)" srcset="benchmarks/http/streams-dark.svg">',
    '  <img alt="CPU of the HTTP door, of vLLM\'s router and of nginx in µs a token, from 1 to 1,000 streams" '
    'src="benchmarks/http/streams.svg">',
    "</picture>",
)
NAMES = "of vLLM's router (Rust), nginx, LiteLLM's proxy"


def write(data: Mapping[str, Any]) -> None:
    """Put the rows in the place of those that are there, and the plot below the table."""
    lines = README.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if "`make bench-http`" in line)
    end = start + 1
    while lines[end].endswith("| the same |"):
        end += 1
    lines[start:end] = [f"| {label} | {value} | {command} |" for label, value, command in _rows(data)]
    if not any("benchmarks/http/streams.svg" in line for line in lines):
        after = next(number for number in range(start, len(lines)) if not lines[number].startswith("|"))
        lines[after:after] = ["", *PLOT]
    README.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _rows(data: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    hop = data["hop"]["measured"]
    for n in ("16", "200"):
        label = f"the HTTP door's CPU time per streamed token at {n} streams; {NAMES}"
        yield label, _beside(hop, "cpu_us", n, "µs"), RESULTS if n == "16" else "the same"
    label = f"time to first token of 200 requests that arrive at once, the median one; {NAMES}"
    yield label, _beside(hop, "ttft_ms", "200", "ms"), "the same"
    layers = data["layers"]["measured"]
    token, request = (_more(layers, what) for what in ("token_us", "request_us"))
    yield (
        "all of the door's layers beside its defaults",
        f"{token:.1f} µs a token, {request / 1000:.2f} ms a request",
        ("the same"),
    )
    shares = data["llamacpp"]["measured"]["shares"]
    value = " and ".join(f"{100 * share:.0f}" for share in shares.values())
    label = f"llama.cpp's tokens/s through the door at {' and '.join(shares)} streams, compared with its own server"
    yield label, f"{value} %", "the same"


def _beside(hop: Mapping[str, Any], what: str, n: str, unit: str) -> str:
    others = ", ".join(_short(statistics.median(hop[name][what][n])) for name in OTHERS if name in hop)
    return f"{_short(statistics.median(hop['door'][what][n]))} {unit}; {others} {unit}"


def _more(layers: Mapping[str, Any], what: str) -> float:
    pairs = zip(layers["every layer"][what], layers["defaults"][what], strict=True)
    return statistics.median(every - base for every, base in pairs)


def _short(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"
