"""How figures are written in every report: three digits that count, and no more."""

from __future__ import annotations

from ..figures import Distribution, Report, Stage

FIGURES = ("min", "mean", "median", "p90", "p95", "p99", "max", "stdev")
HEADINGS = ("min", "mean", "median", "P90", "P95", "P99", "max", "std. dev.")


def number(value: float) -> str:
    """Three digits that count: 0.123, 1.23, 12.3, 123, 1,234."""
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 1:
        return f"{value:.2f}"
    return f"{value:.3f}" if size else "0"


def durations(stage: Stage) -> list[tuple[str, Distribution]]:
    """The stage's distributions that have something in them, by what they are called."""
    named = [
        ("time to first token", stage.ttft),
        ("inter-token latency", stage.inter_token),
        ("time per output token", stage.token),
        ("end to end", stage.end_to_end),
        *stage.extra.items(),
    ]
    if stage.rate:
        named.append(("sent late", stage.send_lag))
    return [(name, figures) for name, figures in named if figures.count]


def success(stage: Stage) -> str:
    """The share of successes, which is not rounded up to 100 %."""
    if not stage.requests:
        return "-"
    share = 100 * stage.succeeded / stage.requests
    return f"{min(share, 99.9) if stage.failed else 100:.1f} %".replace("100.0", "100")


def kept(stage: Stage) -> str:
    """Whether the objectives were met, in a word."""
    return {True: "yes", False: "no", None: "-"}[stage.met]


def headline(report: Report) -> str:
    """What was measured, in a line."""
    return f"{report.model or 'the model'} at {report.target}: {report.scenario}, {report.surface}"


def counting(report: Report) -> str:
    """Who counted the tokens."""
    if not any(stage.succeeded for stage in report.stages):
        return "No tokens were counted."
    by_usage = sum(stage.tokens_by_usage for stage in report.stages)
    by_events = sum(stage.tokens_by_events for stage in report.stages)
    if not by_events:
        return "Tokens are counted by the server (usage)."
    if not by_usage:
        return "The server reports no usage: tokens are counted as events of the stream, tokens in are unknown."
    return f"Tokens are counted by the server (usage) for {by_usage:,} requests, as events for {by_events:,}."


def plain(text: str) -> str:
    """Markdown's code without its marks."""
    return text.replace("`", "")
