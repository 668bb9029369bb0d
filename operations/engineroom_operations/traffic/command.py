"""`engineroom traffic`: is a pod or serverless the better way to serve a model's traffic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..fit.options import token_count

if TYPE_CHECKING:
    from rich.console import Console

    from .decision import ServingOffer, TrafficDecision, TrafficRules
    from .pattern import TrafficPattern

_MONTH_DAYS = 30


@click.command()
@click.argument("model")
@click.option(
    "--requests",
    "hours",
    metavar="HOURS",
    help="Requests an hour: one number, 24, or stretches such as 9-17:300,17-9:10.",
)
@click.option(
    "--from",
    "source",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with the pattern, or a log of `engineroom serve` (ACCESS_LOG=true, LOG_FORMAT=json).",
)
@click.option("--prompt-tokens", type=click.FloatRange(0), help="Of a request on average.  [default: 500]")
@click.option(
    "--answer-tokens", type=click.FloatRange(0, min_open=True), help="Of a request on average.  [default: 200]"
)
@click.option("--cold-start", type=click.FloatRange(0), help="Seconds of a worker's start.  [default: assumed]")
@click.option(
    "--start-log",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A worker's log, of which the line `start-up:` says how long a start takes.",
)
@click.option("--idle-timeout", type=click.FloatRange(1, 3600), default=5.0, show_default=True, help="Seconds.")
@click.option(
    "--max-waiting", type=click.FloatRange(0, 100), help="Percent of the requests that may wait for a cold start."
)
@click.option("--gpu", "names", multiple=True, metavar="NAME", help="Only this GPU or pool; may be repeated.")
@click.option("--engine", metavar="NAME", help="The engine that is to serve it.  [default: the best for its format]")
@click.option("--context", callback=token_count, metavar="TOKENS", help="The longest request.  [default: 8k]")
@click.option("--hours", "by_hour", is_flag=True, help="Show each hour of the day.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def traffic(
    model: str,
    hours: str | None,
    source: Path | None,
    prompt_tokens: float | None,
    answer_tokens: float | None,
    cold_start: float | None,
    start_log: Path | None,
    idle_timeout: float,
    max_waiting: float | None,
    names: Sequence[str],
    engine: str | None,
    context: int | None,
    by_hour: bool,
    as_json: bool,
) -> None:
    """Say which costs less for a model: a pod or serverless.

    MODEL is as `engineroom fit` takes it. The traffic is a day of requests, from --requests or a file.

    \b
        engineroom traffic Qwen/Qwen3-8B --requests 9-17:300,17-9:5
        engineroom traffic Qwen/Qwen3-8B --from worker.log --start-log worker.log
    """
    import asyncio
    import json
    from dataclasses import asdict

    from engineroom.runpod_account import RunPodAccount
    from engineroom.settings import Environment

    from ..catalog.current import current
    from ..fit.asking import engine_profile, look_up, usual_context, wanted_gpus
    from ..fit.gpus import fit_gpus
    from ..fit.memory import Demand
    from .decision import TrafficRules, decide
    from .offers import assumed_cold_start_seconds, pod_offer, serverless_offer

    pattern = _pattern(hours, source, prompt_tokens, answer_tokens)
    env = Environment.load()
    read = look_up(model, None, "", env)
    chosen, profile = engine_profile(engine or env.get("ENGINE", ""), read, env)
    demand = Demand(context or usual_context(read))
    prices = asyncio.run(current(RunPodAccount.load(env)))
    fits = fit_gpus(read, profile, wanted_gpus(prices.catalog, names), demand)
    measured = _cold_start(cold_start, start_log)
    rules = TrafficRules(
        cold_start_seconds=assumed_cold_start_seconds(read) if measured is None else measured,
        idle_timeout_seconds=idle_timeout,
        max_waiting_share=None if max_waiting is None else max_waiting / 100,
    )
    pod = pod_offer(read, fits, pattern)
    serverless = serverless_offer(read, fits, pattern)
    decision = decide(pattern, pod, serverless, rules)
    if as_json:
        answer = {
            "model": model,
            "engine": chosen,
            "pattern": asdict(pattern),
            "rules": asdict(rules),
            "pod": asdict(pod) if pod else None,
            "serverless": asdict(serverless) if serverless else None,
            "decision": asdict(decision),
            "prices": prices.note,
        }
        click.echo(json.dumps(answer, indent=2))
        return
    from engineroom.commands.screen import console

    screen = console()
    _show(screen, pattern, rules, pod, serverless, decision)
    if by_hour:
        _show_hours(screen, decision)
    start = "measured" if measured is not None else "assumed; --cold-start or --start-log gives the real one"
    request = "measured" if pattern.request_seconds else "estimated, as by `engineroom fit`"
    screen.print(f"\n{prices.note}.\nA cold start takes {rules.cold_start_seconds:.0f} s ({start}).")
    for offer in (serverless, pod):
        if offer is not None:
            screen.print(f"A request takes {offer.request_seconds:.1f} s on {offer.hardware} ({request}).")
            break


def _pattern(
    hours: str | None, source: Path | None, prompt_tokens: float | None, answer_tokens: float | None
) -> TrafficPattern:
    from dataclasses import replace

    from .pattern import TrafficPattern, load, parse_hours

    if (hours is None) == (source is None):
        raise click.UsageError("Give the traffic: either --requests, such as 9-17:300,17-9:5, or --from a file.")
    pattern = load(source) if source is not None else TrafficPattern(parse_hours(hours or ""))
    if prompt_tokens is not None:
        pattern = replace(pattern, prompt_tokens=prompt_tokens)
    if answer_tokens is not None:
        pattern = replace(pattern, answer_tokens=answer_tokens)
    return pattern


def _cold_start(seconds: float | None, log: Path | None) -> float | None:
    from .errors import TrafficError
    from .request_log import cold_start_seconds

    if seconds is not None or log is None:
        return seconds
    measured = cold_start_seconds(log.read_text(encoding="utf-8", errors="replace"))
    if measured is None:
        raise TrafficError(f"{log} has no line `start-up: … engine ready … s`, which a worker logs once it is ready")
    return measured


def _show(
    screen: Console,
    pattern: TrafficPattern,
    rules: TrafficRules,
    pod: ServingOffer | None,
    serverless: ServingOffer | None,
    decision: TrafficDecision,
) -> None:
    from rich.markup import escape
    from rich.table import Table

    source = f" ({escape(pattern.note)})" if pattern.note else ""
    screen.print(
        f"{pattern.requests_per_day:,.0f} requests a day{source}, at most {pattern.busiest_hour:,.0f} in an hour; "
        f"{pattern.prompt_tokens:,.0f} tokens of prompt and {pattern.answer_tokens:,.0f} of answer each\n"
    )
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("")
    table.add_column("GPUs", no_wrap=True)
    for title in ("$ an hour\nwhile up", "$ a day", "$ a month", "wait for\na start"):
        table.add_column(title, justify="right", no_wrap=True)
    if pod and decision.pod_usd_per_day is not None:
        count = f"{decision.pods} pods" if decision.pods > 1 else "pod"
        table.add_row(count, pod.hardware, f"{pod.usd_per_hour:.2f}", *_days(decision.pod_usd_per_day), "-")
    if serverless and decision.serverless_usd_per_day is not None:
        days = _days(decision.serverless_usd_per_day)
        table.add_row(
            "serverless", serverless.hardware, f"{serverless.usd_per_hour:.2f}", *days, f"{decision.waiting_share:.1%}"
        )
    screen.print(table)
    screen.print(f"\n[bold]{decision.mode}[/bold]: {decision.reason}.")
    if decision.break_even_requests_per_hour is not None:
        screen.print(
            f"Evenly over the day, a pod is the cheaper from {decision.break_even_requests_per_hour:,.0f} requests an "
            "hour on."
        )


def _days(usd: float) -> tuple[str, str]:
    return f"{usd:,.2f}", f"{usd * _MONTH_DAYS:,.0f}"


def _show_hours(screen: Console, decision: TrafficDecision) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("hour", "requests", "workers up", "wait for a start", "serverless $"):
        table.add_column(title, justify="right", no_wrap=True)
    for hour, cost in enumerate(decision.hours):
        table.add_row(
            f"{hour:02}", f"{cost.requests:,.0f}", f"{cost.workers:.2f}", f"{cost.waiting:,.1f}", f"{cost.usd:.3f}"
        )
    screen.print()
    screen.print(table)
