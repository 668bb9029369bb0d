"""The figures as a page."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from overhead import table


def report(measured: Mapping[str, Any]) -> str:
    """Markdown."""
    rows = measured.get("rows") or []
    parts = [_conditions(measured), _streams(rows), _cost(rows)] if rows else [_conditions_of_overhead(measured)]
    parts += [_overhead(each) for each in measured.get("overhead", ())]
    return "\n\n".join(parts) + "\n"


def _conditions(measured: Mapping[str, Any]) -> str:
    how = measured["conditions"]
    lines = [
        "# Engines side by side, measured",
        "",
        f"`make bench-engines`, {how['when']}: {how['model']} behind `engineroom serve`, {how['rounds']} rounds after "
        f"a warm-up, {how['starts']} starts, interleaved, medians. Client, worker and engine share {how['cores']} "
        f"cores ({how['cpu']}), Python {how['python']}. Greedy answers of exactly {how['tokens']} tokens, as the "
        "engine counts them; every prompt is new, so that no cache of prompts helps. Each engine has room for "
        f"{how['at_once']} requests of {how['context']:,} tokens; all else is its own default, but that vLLM is eager. "
        "llama.cpp and OpenVINO have the model's weights in 4 bits (Q4_1), which are what its 16 and 32 bit forms were "
        "made of. "
        "While one engine is asked, the others' processes are stopped (SIGSTOP).",
    ]
    if shares := measured.get("others"):
        lines += [
            "",
            f"Others than these processes used {100 * statistics.median(shares):.0f} % of the machine in the median "
            f"measurement, {100 * max(shares):.0f} % in the worst of {len(shares)}.",
        ]
    for line in measured["missing"]:
        lines += ["", f"Not here: {line}."]
    return "\n".join(lines)


def _conditions_of_overhead(measured: Mapping[str, Any]) -> str:
    """For a page that has nothing else."""
    how = measured["conditions"]
    return (
        "# transformers through the worker, measured\n\n"
        f'`make bench-engines ARGS="--only overhead"`, {how["when"]}: {how["rounds"]} rounds after a warm-up, '
        f"interleaved, medians. Client, script and worker share {how['cores']} cores ({how['cpu']}), "
        f"Python {how['python']}."
    )


def _streams(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "### Streams",
        "",
        "Lowest to highest round in brackets. TTFT: the median stream's, from its request to its first text, on a "
        "connection that stands already.",
        "",
        "| engine | weights | tokens/s, 1 stream | 4 | 16 | TTFT, ms, 1 stream | 4 | 16 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        rates = [f"{statistics.median(v):.0f} ({min(v):.0f} to {max(v):.0f})" for v in row["rates"].values()]
        firsts = [f"{statistics.median(v):.0f} ({min(v):.0f} to {max(v):.0f})" for v in row["ttft_ms"].values()]
        lines.append(f"| {row['name']} | {row['weights']} | {' | '.join([*rates, *firsts])} |")
    return "\n".join(lines)


def _cost(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "### Start-up and memory",
        "",
        "Each alone. Start: from the command to the first token, the model's files and what MAX compiles cached "
        "before. Memory: proportional set size (PSS) of the worker and all processes below it, after 16 streams. "
        "Idle: CPU of the same processes while nobody asks, of one core. Installed: its packages, for those that "
        "`make serve` could have by default.",
        "",
        "| engine | weights | start to first token, s | memory, MB | idle, % | installed, MB |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        taken = row["start_s"]
        start = f"{statistics.median(taken):.1f} ({min(taken):.1f} to {max(taken):.1f})"
        size = row.get("installed_mb")
        idle = f"{100 * row['idle_cpu']:.1f}"
        installed = "" if size is None else f"{size:,.0f}"
        cells = row["name"], row["weights"], start, f"{row['memory_mb']:,.0f}", idle, installed
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _overhead(measured: Mapping[str, Any]) -> str:
    where = f"on a GPU ({measured['hardware']})" if measured["device"] == "cuda" else "on this CPU, no GPU"
    lines = [
        "### transformers through the worker, beside its own continuous batching",
        "",
        f"{where[0].upper()}{where[1:]}: {measured['model']} in {measured['dtype']}, greedy, "
        f"{measured['tokens']} tokens an answer. Bare "
        "is `bare.py`: transformers' manager, configured as the worker's, greedy, in a plain script, with nothing "
        "between it and the figures. Worker is `engineroom serve` as a client sees it: HTTP, chat template, sampling "
        "by request, detokenising, events; on a CPU all of that and the client take turns with the model on the same "
        "cores. Ratios are of the times of a token pair by pair: the median, lowest to highest in brackets.",
        "",
        *table(measured),
    ]
    return "\n".join(lines)
