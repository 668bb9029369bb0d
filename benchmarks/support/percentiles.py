"""One meaning of a percentile for every benchmark."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], share: float) -> float:
    """The value that a share of all, from 0 to 1, does not exceed, by the nearest rank.

    Raises:
        IndexError: there is no value.
    """
    return sorted(values)[max(0, math.ceil(len(values) * share) - 1)]
