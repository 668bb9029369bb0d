"""The verdict in words: what limits, and which setting to try. Each is a rule over a report's figures."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from .figures import Advice, Stage

_STEP = 1.1
"""Throughput that grows by less than this from one stage to the next has stopped growing."""

_CROWDED = 1.5
"""A latency that grew by this between two stages has suffered."""


class VerdictRule(NamedTuple):
    """judge: from the stages, in the order of their load, what limits and the remedy; None where the rule is silent."""

    name: str
    judge: Callable[[Sequence[Stage]], tuple[str, str] | None]


def verdict(stages: Sequence[Stage]) -> list[Advice]:
    """What the rules say of the stages that ran, the cause of failures first."""
    measured = [stage for stage in stages if stage.requests]
    if not measured:
        return []
    measured.sort(key=lambda stage: (stage.streams, stage.rate))
    advice = []
    for rule in RULES:
        answer = rule.judge(measured)
        if answer is not None:
            advice.append(Advice(rule.name, *answer))
    return advice


def failures(stages: Sequence[Stage]) -> tuple[str, str] | None:
    worst = max(stages, key=lambda stage: stage.failed)
    if not worst.failed:
        return None
    kind, failure = max(worst.failures.items(), key=lambda item: item[1].count)
    return (
        f"{worst.failed} of {worst.requests} requests failed at {worst.label}, {failure.count} of them: {kind}, "
        f"“{failure.example}”.",
        f"{failure.remedy[:1].upper()}{failure.remedy[1:]}.".replace("?.", "?"),
    )


def generator(stages: Sequence[Stage]) -> tuple[str, str] | None:
    worst = max(stages, key=lambda stage: stage.own_cpu_share)
    lag = max(stage.send_lag.p99 for stage in stages if stage.rate) if any(stage.rate for stage in stages) else 0
    if worst.own_cpu_share < 0.9 and lag < 50:
        return None
    what = f"used {100 * worst.own_cpu_share:.0f} % of a core at {worst.label}"
    if worst.own_cpu_share < 0.9:
        what = f"sent 1 of 100 requests {lag:.0f} ms late or later"
    return (
        f"This program itself {what}: the figures may be its own limit, not the server's.",
        "Run it on a machine with a free core, or several of it at once with a share of the load each.",
    )


def queue(stages: Sequence[Stage]) -> tuple[str, str] | None:
    top = stages[-1]
    server = top.server
    waiting = server.waiting or 0
    waited = server.queue_ms or 0
    if waiting < max(1.0, 0.1 * (server.running or 0)) and not (
        waited > 50 and top.ttft.count and waited > 0.3 * top.ttft.mean
    ):
        return None
    parts = []
    if waiting:
        parts.append(f"{waiting:.0f} requests waited while {server.running or 0:.0f} ran")
    if waited and top.ttft.count:
        parts.append(f"a request waited {waited:.0f} ms of its {top.ttft.mean:.0f} ms to the first token")
    return (
        f"The queue limits at {top.label}: {', and '.join(parts)}.",
        "Let more requests run at once: the engine's MAX_NUM_SEQS, PARALLEL or MAX_BATCH_SIZE, and the door's "
        "MAX_CONCURRENT_REQUESTS, as far as memory allows; else add workers.",
    )


def cache(stages: Sequence[Stage]) -> tuple[str, str] | None:
    full = max(stages, key=lambda stage: stage.server.cache_used_peak or 0)
    preempted = max(stages, key=lambda stage: stage.server.preemptions or 0)
    used = full.server.cache_used_peak or 0
    count = preempted.server.preemptions or 0
    if used < 0.95 and not count:
        return None
    what = f"{100 * used:.0f} % of it was used at {full.label}"
    if count:
        what = f"{count:.0f} requests were thrown out of it and begun anew at {preempted.label}"
    return (
        f"The key-value cache is full: {what}.",
        "Give it more memory (GPU_MEMORY_UTILIZATION), make its entries smaller (KV_CACHE_DTYPE=fp8), or limit the "
        "context (MAX_MODEL_LEN).",
    )


def prefill(stages: Sequence[Stage]) -> tuple[str, str] | None:
    top = stages[-1]
    server = top.server
    if server.prefill_ms is None:
        return None
    work = server.prefill_ms + (server.decode_ms or 0)
    if server.prefill_ms < 0.4 * work or server.prefill_ms < 50:
        return None
    return (
        f"Prefill limits at {top.label}: reading the prompt takes {server.prefill_ms:.0f} ms of a request's "
        f"{work:.0f} ms of work.",
        "Share prompts' beginnings and let them be cached (ENABLE_PREFIX_CACHING), read more at a time "
        "(MAX_NUM_BATCHED_TOKENS), or shorten the prompts; more GPUs (TENSOR_PARALLEL_SIZE) help prefill first.",
    )


def decode(stages: Sequence[Stage]) -> tuple[str, str] | None:
    first = stages[0]
    top = stages[-1]
    if first is top or not first.token.median or not top.token.median:
        return None
    slower = top.token.median / first.token.median
    faster = top.tokens_out_per_s / first.tokens_out_per_s if first.tokens_out_per_s else 0
    if slower < _CROWDED or queue(stages) is not None or prefill(stages) is not None:
        return None
    return (
        f"Decode limits at {top.label}: a token takes {top.token.median:.1f} ms, {slower:.1f} times as long as at "
        f"{first.label}, for {faster:.1f} times the tokens a second.",
        "Fewer bytes a token: a quantised model (QUANTIZATION), speculative decoding, more GPUs "
        "(TENSOR_PARALLEL_SIZE); or fewer requests at once, where each must be fast.",
    )


def network(stages: Sequence[Stage]) -> tuple[str, str] | None:
    first = stages[0]
    own = first.server.ttft_ms
    if own is None or not first.ttft.count:
        return None
    between = first.ttft.mean - own
    if between < 50 or between < 0.3 * first.ttft.mean:
        return None
    return (
        f"The network or a proxy takes {between:.0f} ms of the {first.ttft.mean:.0f} ms to the first token at "
        f"{first.label}: the server itself counts {own:.0f} ms.",
        "Measure from nearer, choose a region nearer to the users, or look at the proxies between (do they collect "
        "streams before they pass them on?).",
    )


def uneven(stages: Sequence[Stage]) -> tuple[str, str] | None:
    for stage in stages:
        gaps = stage.inter_token
        mean = stage.token.mean
        if gaps.count >= 100 and mean and gaps.median < 0.2 * mean and gaps.p99 > 3 * mean:
            return (
                f"Tokens arrive in clumps at {stage.label}: half of them within {gaps.median:.1f} ms of the one "
                f"before, but a token takes {mean:.1f} ms on average.",
                "Something between collects the stream: switch off buffering in proxies (nginx: proxy_buffering off), "
                "or the server sends several tokens an event, as with speculative decoding.",
            )
    return None


def prefixes(stages: Sequence[Stage]) -> tuple[str, str] | None:
    top = stages[-1]
    share = top.server.prefix_hit_share
    if share is None or share > 0.2 or top.tokens_in < 1000 * max(1, top.succeeded) or prefill(stages) is None:
        return None
    return (
        f"The cache of prefixes had only {100 * share:.0f} % of the prompts' tokens.",
        "If your prompts share a beginning, put what differs at the end.",
    )


def knee(stages: Sequence[Stage]) -> tuple[str, str] | None:
    for before, after in itertools.pairwise(stages):
        if not before.succeeded or not after.succeeded or not before.tokens_out_per_s:
            continue
        growth = after.tokens_out_per_s / before.tokens_out_per_s
        slower = after.end_to_end.median / before.end_to_end.median if before.end_to_end.median else 1
        if growth < _STEP and slower > _CROWDED:
            return (
                f"The knee is at {before.label}: {after.label} gave {growth:.2f} times its tokens a second and took "
                f"{slower:.1f} times as long an answer.",
                f"Send no more than {before.label} to a worker; scale on that (MAX_CONCURRENT_REQUESTS, or the "
                "number of requests a worker at which RunPod starts another).",
            )
    return None


def headroom(stages: Sequence[Stage]) -> tuple[str, str] | None:
    if len(stages) < 2 or stages[-1].failed:
        return None
    before = stages[-2]
    top = stages[-1]
    load_growth = 0.0
    if before.streams:
        load_growth = top.streams / before.streams
    elif before.rate:
        load_growth = top.rate / before.rate
    if not before.tokens_out_per_s or load_growth <= 1:
        return None
    growth = top.tokens_out_per_s / before.tokens_out_per_s
    if growth < 1 + 0.7 * (load_growth - 1):
        return None
    return (
        f"No limit yet: from {before.label} to {top.label} the tokens a second grew {growth:.1f} times.",
        "Measure higher loads (--concurrency, --rate), or let --search look for the limit.",
    )


RULES = (
    VerdictRule("failures", failures),
    VerdictRule("generator", generator),
    VerdictRule("queue", queue),
    VerdictRule("cache", cache),
    VerdictRule("prefill", prefill),
    VerdictRule("prefixes", prefixes),
    VerdictRule("decode", decode),
    VerdictRule("network", network),
    VerdictRule("uneven", uneven),
    VerdictRule("knee", knee),
    VerdictRule("headroom", headroom),
)
