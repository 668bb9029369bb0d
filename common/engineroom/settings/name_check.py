"""What became of the names in an environment: problems, notices for the log, settings that nothing reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..errors import Problem


class Notice(NamedTuple):
    """A line for the log about a name that did not stop the start.

    ours: the setting that it became, or may have meant; empty where there is none.
    granted: whether the wish was granted.
    """

    variable: str
    source: str
    ours: str
    message: str
    granted: bool = False

    def __str__(self) -> str:
        return f"{self.variable} (from {self.source}) {self.message}"


class NameCheck(NamedTuple):
    """What became of the names in an environment.

    idle: settings that are set and belong to a door that is not opened.
    """

    problems: Sequence[Problem]
    notices: Sequence[Notice]
    idle: Sequence[str]

    @property
    def warnings(self) -> list[Notice]:
        """The wishes that were not granted."""
        return [notice for notice in self.notices if not notice.granted]

    def granted_lines(self) -> list[str]:
        """At most a line for the log on each: names that are taken as ours, and settings of other doors."""
        lines = []
        granted = [f"{notice.variable} as {notice.ours}" for notice in self.notices if notice.granted]
        if granted:
            lines.append(f"other programs' names are taken as ours: {', '.join(granted)}")
        if self.idle:
            lines.append(f"settings of another door, of no effect here: {', '.join(self.idle)}")
        return lines
