"""Reports that programs read (JSON, CSV), and the one for a pull request or a wiki (Markdown)."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from engineroom.errors import EngineroomError

from ..figures import FORMAT, Report, Stage
from .words import FIGURES, HEADINGS, counting, durations, headline, kept, number, success


class ReportError(EngineroomError):
    """A file is no report of ours. The text says which, and why."""


def to_json(report: Report) -> str:
    return msgspec.json.format(msgspec.json.encode(report), indent=1).decode() + "\n"


def read(path: Path) -> Report:
    """A report from its JSON.

    Raises:
        ReportError: the file cannot be read, or is none.
    """
    try:
        report = msgspec.json.decode(path.read_bytes(), type=Report)
    except OSError as error:
        raise ReportError(f"{path} cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ReportError(f"{path} is no report that `engineroom bench --json` wrote: {error}") from None
    if report.format != FORMAT:
        raise ReportError(f"{path} has the format {report.format}, and this engineroom reads {FORMAT}")
    return report


_COLUMNS = (
    "label",
    "streams",
    "rate",
    "arrivals",
    "seconds",
    "requests",
    "succeeded",
    "failed",
    "given_up",
    "requests_per_s",
    "goodput_per_s",
    "tokens_in",
    "tokens_out",
    "tokens_in_per_s",
    "tokens_out_per_s",
)
_DISTRIBUTIONS = ("ttft", "inter_token", "token", "end_to_end", "send_lag")


def to_csv(report: Report) -> str:
    """A row a stage; durations in milliseconds."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    heads = [f"{name}_{figure}_ms" for name in _DISTRIBUTIONS for figure in FIGURES]
    kinds = sorted({kind for stage in report.stages for kind in stage.failures})
    writer.writerow(["target", "model", "scenario", *_COLUMNS, "met", *heads, *(f"failed: {kind}" for kind in kinds)])
    for stage in report.stages:
        figures = [getattr(getattr(stage, name), figure) for name in _DISTRIBUTIONS for figure in FIGURES]
        counts = [stage.failures[kind].count if kind in stage.failures else 0 for kind in kinds]
        own = [getattr(stage, name) for name in _COLUMNS]
        row = [report.target, report.model, report.scenario, *own, "" if stage.met is None else stage.met]
        writer.writerow([round(cell, 3) if isinstance(cell, float) else cell for cell in [*row, *figures, *counts]])
    return file.getvalue()


def to_markdown(report: Report) -> str:
    lines = [f"# {headline(report)}", "", _about(report), "", *_table(*stage_table(report)), ""]
    if report.verdict:
        lines += ["## What limits", ""]
        lines += [f"* {advice.limit} *Try:* {advice.remedy}" for advice in report.verdict]
        lines.append("")
    for stage in report.stages:
        rows = [[name, *(number(getattr(one, figure)) for figure in FIGURES)] for name, one in durations(stage)]
        lines += [f"## {stage.label}", "", *_table(["ms", *HEADINGS], rows), ""]
        if stage.failures:
            failures = [[kind, str(one.count), one.example, one.remedy] for kind, one in stage.failures.items()]
            lines += [*_table(["failed", "requests", "reason", "what to do"], failures), ""]
    return "\n".join(lines)


def stage_table(report: Report, duration: Callable[[float], str] = number) -> tuple[list[str], list[list[str]]]:
    """The table that stands first in every report: a row a stage.

    Args:
        duration: writes milliseconds.
    """
    heading = [
        "load",
        "requests",
        "success",
        "requests/s",
        "tokens/s in",
        "tokens/s out",
        "TTFT, ms P50 / P99",
        "token, ms P50 / P99",
        "answer, ms P50 / P99",
        "goodput/s",
    ]
    if report.objectives.given:
        heading.append("objectives kept")
    return heading, [_row(report, stage, duration) for stage in report.stages]


def _row(report: Report, stage: Stage, duration: Callable[[float], str]) -> list[str]:
    pairs = [
        f"{duration(one.median)} / {duration(one.p99)}" if one.count else "-"
        for one in (stage.ttft, stage.token, stage.end_to_end)
    ]
    row = [
        stage.label + (" (best)" if stage.label == report.best else ""),
        f"{stage.requests:,}",
        success(stage),
        number(stage.requests_per_s),
        number(stage.tokens_in_per_s) if stage.tokens_in else "-",
        number(stage.tokens_out_per_s),
        *pairs,
        number(stage.goodput_per_s),
    ]
    return [*row, kept(stage)] if report.objectives.given else row


def _about(report: Report) -> str:
    parameters = ", ".join(f"{name} {value}" for name, value in report.parameters.items())
    interrupted = " Stopped before its end." if report.interrupted else ""
    objectives = f" Objectives: {report.objectives}." if report.objectives.given else ""
    notes = "".join(f" {note}" for note in report.notes)
    return (
        f"{report.started_at}, {report.seconds:.0f} s, engineroom {report.engineroom}; {parameters}."
        f"{objectives}{interrupted} {counting(report)}{notes}"
    )


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(heading)} |",
        f"|{'---|' * len(heading)}",
        *(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows),
    ]
