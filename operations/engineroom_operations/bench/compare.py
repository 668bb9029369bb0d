"""Two runs side by side: what became faster, and what slower."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .figures import Report, Stage

_SAME = 0.03
"""A difference of less than this share is noise of most machines."""


class FigureChange(NamedTuple):
    """One figure of one stage in both runs. better: 1 for better, -1 for worse, 0 for the same within 3 %."""

    stage: str
    figure: str
    before: float
    after: float
    better: int

    @property
    def percent(self) -> float:
        return 100 * (self.after / self.before - 1) if self.before else 0.0


class Comparison(NamedTuple):
    """What two runs have in common and what not.

    changes: of the stages that both runs have.
    unmatched: stages of only one.
    warnings: why figures may not compare.
    """

    changes: list[FigureChange]
    unmatched: list[str]
    warnings: list[str]


def compare(before: Report, after: Report) -> Comparison:
    """Compare two runs stage by stage, by their labels."""
    olds = {stage.label: stage for stage in before.stages}
    news = {stage.label: stage for stage in after.stages}
    changes = [change for label in olds if label in news for change in _changes(olds[label], news[label])]
    unmatched = [label for label in [*olds, *news] if (label in olds) != (label in news)]
    return Comparison(changes, unmatched, _warnings(before, after))


def _changes(old: Stage, new: Stage) -> Sequence[FigureChange]:
    figures = [
        ("tokens/s out", old.tokens_out_per_s, new.tokens_out_per_s, 1),
        ("requests/s", old.requests_per_s, new.requests_per_s, 1),
        ("goodput/s", old.goodput_per_s, new.goodput_per_s, 1),
        ("success, %", 100 * old.success_share, 100 * new.success_share, 1),
        ("TTFT median, ms", old.ttft.median, new.ttft.median, -1),
        ("TTFT P99, ms", old.ttft.p99, new.ttft.p99, -1),
        ("token median, ms", old.token.median, new.token.median, -1),
        ("token P99, ms", old.token.p99, new.token.p99, -1),
        ("inter-token P99, ms", old.inter_token.p99, new.inter_token.p99, -1),
        ("answer median, ms", old.end_to_end.median, new.end_to_end.median, -1),
        ("answer P99, ms", old.end_to_end.p99, new.end_to_end.p99, -1),
    ]
    return [
        FigureChange(old.label, name, before, after, _better(before, after, direction))
        for name, before, after, direction in figures
        if before or after
    ]


def _better(before: float, after: float, direction: int) -> int:
    if abs(after - before) <= _SAME * max(abs(before), abs(after)):
        return 0
    return direction if after > before else -direction


def _warnings(before: Report, after: Report) -> list[str]:
    warnings = []
    for what in ("model", "scenario", "surface"):
        old = getattr(before, what)
        new = getattr(after, what)
        if old != new:
            warnings.append(f"The runs differ in {what}: {old} and {new}.")
    for name in sorted({*before.parameters, *after.parameters}):
        old = before.parameters.get(name, "none")
        new = after.parameters.get(name, "none")
        if old != new:
            warnings.append(f"The runs differ in {name}: {old} and {new}.")
    if before.interrupted or after.interrupted:
        warnings.append("A run was stopped before its end.")
    return warnings
