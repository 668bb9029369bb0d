"""What vLLM's log says of its own start: the phases that cost, for the start-up timeline."""

from __future__ import annotations

import re
from collections.abc import Iterable

_PHASES = (
    ("weights loaded", re.compile(r"Loading weights took ([\d.]+) seconds")),
    ("model loaded", re.compile(r"Model loading took .*?([\d.]+) seconds")),
    ("compiled", re.compile(r"torch\.compile (?:and initial profiling run )?took ([\d.]+) s")),
    ("graphs captured", re.compile(r"Graph capturing finished in ([\d.]+) secs")),
    ("engine initialised", re.compile(r"init engine \(.*?\) took ([\d.]+) s")),
)


def phases(log: Iterable[str]) -> list[tuple[str, float]]:
    """Each phase that the log names, with the seconds that it took."""
    lines = list(log)
    return [
        (name, float(found[-1]))
        for name, pattern in _PHASES
        if (found := [match[1] for line in lines if (match := pattern.search(line))])
    ]
