"""A row of values as a row of bars, one character each."""

from __future__ import annotations

from collections.abc import Sequence

_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float | None]) -> str:
    """The values as bars, the highest of them as a whole one, 0 as the least; a gap for what is not known.

    Empty where no value is larger than 0.
    """
    highest = max((value for value in values if value), default=0.0)
    if not highest:
        return ""
    bars = [" " if value is None else _BARS[round(value / highest * (len(_BARS) - 1))] for value in values]
    return "".join(bars)
