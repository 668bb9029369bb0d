"""The range that a number must be in, as parsers and models of settings state it, and in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """A range. ge: at least; gt: more than; le: at most; lt: less than. None leaves that side open."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

    @classmethod
    def of(cls, constraints: Iterable[object]) -> Limits:
        """Those among a pydantic field's metadata (`annotated_types.Ge` and its like)."""
        limits: dict[str, float] = {}
        for constraint in constraints:
            for name in ("ge", "gt", "le", "lt"):
                limit = getattr(constraint, name, None)
                if isinstance(limit, (int, float)):
                    limits[name] = limit
        return cls(**limits)

    def allow(self, number: float) -> bool:
        """Whether the number is in the range; what is no number at all (`nan`) is in none that has an end."""
        return (
            (self.ge is None or number >= self.ge)
            and (self.gt is None or number > self.gt)
            and (self.le is None or number <= self.le)
            and (self.lt is None or number < self.lt)
        )

    @property
    def words(self) -> str:
        """`at least 1`, `more than 0 and at most 1`; empty where it is open on both sides."""
        sides = (("at least", self.ge), ("more than", self.gt), ("at most", self.le), ("less than", self.lt))
        return " and ".join(f"{words} {_number(limit)}" for words, limit in sides if limit is not None)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)
