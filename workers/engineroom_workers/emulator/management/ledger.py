"""What was used for how long and at which price, and the bill for it by time: pure functions of the usage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Family: TypeAlias = Literal["pod", "serverless"]
Component: TypeAlias = Literal["gpu", "cpu"]


@dataclass
class Usage:
    """Something that costs money from one time to another (seconds since the epoch).

    resource: the id of the pod or the endpoint.
    rate: USD an hour.
    end: None as long as it goes on.
    """

    family: Family
    resource: str
    component: Component
    rate: float
    begin: float
    end: float | None = None

    def amount(self, begin: float, end: float, now: float) -> float:
        """USD for the part that lies between two times."""
        last = min(end, now if self.end is None else self.end)
        return max(0.0, last - max(begin, self.begin)) / 3600 * self.rate


class Ledger:
    """All that was used."""

    def __init__(self) -> None:
        self.usages: list[Usage] = []

    def begin(self, family: Family, resource: str, component: Component, rate: float, at: float) -> Usage:
        """Something is used from now on; set its `end` later."""
        usage = Usage(family, resource, component, rate, at)
        self.usages.append(usage)
        return usage

    def of(self, family: Family, resource: str | None = None) -> Iterable[Usage]:
        """The usages of one family, or of one resource."""
        return [usage for usage in self.usages if usage.family == family and resource in (None, usage.resource)]
