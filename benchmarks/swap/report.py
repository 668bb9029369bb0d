"""The page of results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from baseline import BaselineRun
from measures import CLIENTS, GONE_S, LOAD_S, MAX_WAIT_S, MODELS, ROOM, TOKENS, TOKENS_PER_S, Kill, Memory, Run
from percentiles import percentile


class Compared(NamedTuple):
    """An order of requests on the worker, and with routers that go by the order of arrival."""

    name: str
    run: Run
    strict: BaselineRun
    relaxed: BaselineRun


class Hot(NamedTuple):
    """P50 of the model that is asked for most, among the others and alone, in seconds."""

    among_others: float
    alone: float


class Results(NamedTuple):
    """All that was measured. `real`: on llama.cpp."""

    compared: Sequence[Compared]
    hot: Hot
    real: Run
    memory: Memory
    real_memory: Memory
    kills: Sequence[Kill]
    conditions: str


def page(results: Results) -> str:
    """The page, in Markdown."""
    return f"""# Ten models on one worker, measured

`make bench-swap` wrote this page. {results.conditions}

{_promises(results)}

## Requests in random order, and in Zipf's

{MODELS} models, room for {ROOM}, {CLIENTS} clients that each ask for the next model of the order as soon as they have
an answer of {TOKENS} tokens. The models are stand-ins (`echo`), each with a start of {LOAD_S:g} s and {TOKENS_PER_S}
tokens a second; `MODELS_MAX_WAIT` is {MAX_WAIT_S:g} s.

{_orders(results.compared)}

* A **swap** is a load for which another model had to go.
* **In order**: a router that serves strictly in the order of arrival and lets the least recently used model go,
  simulated with the same clients, loads and answers, and no other cost. **Relaxed**: the same, but whoever asks for a
  model that is loaded is answered at once; nothing then bounds how long requests for the others wait.
* A **wait** is the time from a request to its first token.

## The model that is asked for most

In Zipf's order it has a third of the requests. P50 of its whole answers, in ms:

{_table(["among nine others", "alone", "ratio"], [_hot_row(results.hot)])}

## On llama.cpp

A small real model (SmolLM2-135M) under {MODELS} names, each a server process of its own, started and ended by swaps.

{_table(["requests", "failed", "swaps", "took", "wait P50", "longest"], [_real_row(results.real)])}

## Memory, and sudden ends

Each model in turn, so that nearly every request is a swap; MB (proportional set size) of the worker and all that it
started, with the same number of models loaded.

{_table(["models", "swaps", "after a fifth of them", "in the end"], _memory_rows(results))}

{len(results.kills)} workers with models of llama.cpp were killed (SIGKILL) at random moments while models came and
went, 0.2 to 3 s after the first request. What was left {GONE_S:g} s later:

{_table(["killed", "processes that they had", "processes left", "sockets left"], [_kills_row(results.kills)])}
"""


def _promises(results: Results) -> str:
    runs = [each.run for each in results.compared] + [results.real]
    failed = sum(sum(run.failed.values()) for run in runs)
    share = max(each.run.swaps / each.strict.swaps for each in results.compared)
    wait = max(each.run.waits[-1] for each in results.compared)
    ratio = results.hot.among_others / results.hot.alone
    growth = max(seen.late / seen.early - 1 for seen in (results.memory, results.real_memory))
    left = sum(kill.processes + kill.sockets for kill in results.kills)
    rows = [
        ("no request fails", f"{failed} of {sum(len(run.answers) for run in runs):,}", failed == 0),
        ("at most a third of the swaps of a router that goes by the order of arrival", f"{share:.2f}", share <= 1 / 3),
        (f"no wait above {longest_allowed_s():.1f} s", f"{wait:.2f} s", wait <= longest_allowed_s()),
        ("P50 of the hot model within 1.1 of its time alone", f"{ratio:.2f}", ratio <= 1.1),
        ("memory is flat over the swaps (within 5 %)", f"{growth:+.1%}", growth <= 0.05),
        ("nothing is left of a killed worker", f"{left} left", left == 0),
    ]
    return _table(
        ["what is promised", "measured", ""],
        [[what, figure, "kept" if kept else "**not kept**"] for what, figure, kept in rows],
    )


def longest_allowed_s() -> float:
    """The bound of docs/models.md: MODELS_MAX_WAIT, and for each model whose requests have waited longer, and for the
    request's own, the end of the answers under way and a load."""
    return MAX_WAIT_S + (MODELS - ROOM) * (TOKENS / TOKENS_PER_S + LOAD_S)


def _orders(compared: Sequence[Compared]) -> str:
    rows = []
    for name, run, strict, relaxed in compared:
        waits = run.waits
        swaps = [str(run.swaps), str(strict.swaps), str(relaxed.swaps), f"{run.swaps / strict.swaps:.2f}"]
        took = [f"{outcome.seconds:.0f} s" for outcome in (run, strict, relaxed)]
        shown = [f"{wait:.2f} s" for wait in (percentile(waits, 0.5), percentile(waits, 0.95), waits[-1])]
        longest = [f"{outcome.longest_wait_s:.1f} s" for outcome in (strict, relaxed)]
        rows.append([name, f"{len(run.answers):,}", str(sum(run.failed.values())), *swaps, *took, *shown, *longest])
    head = ["order", "requests", "failed", "swaps", "in order", "relaxed", "share of in order"]
    head += ["took", "in order", "relaxed", "wait P50", "P95", "longest", "in order", "relaxed"]
    return _table(head, rows)


def _hot_row(hot: Hot) -> list[str]:
    return [f"{1000 * hot.among_others:.0f}", f"{1000 * hot.alone:.0f}", f"{hot.among_others / hot.alone:.2f}"]


def _real_row(run: Run) -> list[str]:
    waits = run.waits
    shown = [f"{percentile(waits, 0.5):.2f} s", f"{waits[-1]:.2f} s"]
    return [str(len(run.answers)), str(sum(run.failed.values())), str(run.swaps), f"{run.seconds:.0f} s", *shown]


def _memory_rows(results: Results) -> list[list[str]]:
    kinds = {"stand-ins": results.memory, "llama.cpp": results.real_memory}
    return [[name, str(seen.swaps), f"{seen.early:.1f}", f"{seen.late:.1f}"] for name, seen in kinds.items()]


def _kills_row(kills: Sequence[Kill]) -> list[str]:
    return [
        str(len(kills)),
        str(sum(kill.had for kill in kills)),
        str(sum(kill.processes for kill in kills)),
        str(sum(kill.sockets for kill in kills)),
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = "|".join(["---", *("--:" for _ in head[1:])])
    return "\n".join([f"| {' | '.join(head)} |", f"|{rule}|", *(f"| {' | '.join(row)} |" for row in rows)])
