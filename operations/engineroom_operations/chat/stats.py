"""The figures of a chat: of its last answer and of all of them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from ..terminal_text import printable
from .answer import Answer


def stats_table(answers: Sequence[Answer], server: str) -> Table | Text:
    """What `/stats` shows."""
    if not answers:
        return Text("There is no answer yet.", style="dim")
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column("")
    table.add_column("last answer", justify="right")
    table.add_column(f"all {len(answers)} answers" if len(answers) > 1 else "all", justify="right")
    last = answers[-1]
    firsts = [answer.first_token_s for answer in answers if answer.first_token_s is not None]
    speeds = [answer.tokens_per_s for answer in answers if answer.tokens_per_s is not None]
    table.add_row("time to first token", _seconds(last.first_token_s), f"{_seconds(_mean(firsts))} on average")
    table.add_row("tokens/s after it", _number(last.tokens_per_s), f"{_number(_mean(speeds))} on average")
    table.add_row("tokens of the answer", _tokens(last), f"{sum(a.completion_tokens for a in answers):,}")
    prompts = [answer.prompt_tokens for answer in answers if answer.prompt_tokens is not None]
    table.add_row("tokens of the prompt", _count(last.prompt_tokens), f"{sum(prompts):,}" if prompts else "-")
    if last.cached_tokens is not None:
        cached = sum(answer.cached_tokens or 0 for answer in answers)
        table.add_row("  of them from the cache", _count(last.cached_tokens), f"{cached:,}")
    table.add_row("time in all", _seconds(last.seconds), _seconds(sum(answer.seconds for answer in answers)))
    table.add_row("ended because of", printable(last.finish_reason) or "broken off", "")
    table.caption = Text(printable(f"{last.model} at {server}"), style="dim")
    table.caption_justify = "left"
    return table


def _tokens(answer: Answer) -> str:
    # What a server does not report is counted by its pieces.
    return f"{answer.completion_tokens:,}" if answer.counted else f"about {answer.completion_tokens:,}"


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"
