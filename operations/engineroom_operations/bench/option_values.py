"""What options mean: lists of streams and of rates, fields, headers. Wrong ones raise ValueError, which says why."""

from __future__ import annotations

import json
import re
from typing import Any

_COMMA = re.compile(r"\s*,\s*")
_HEADER_NAME = re.compile(r"[\w!#$%&'*+.^`|~-]+")
MAX_STREAMS = 10_000
MAX_RATE = 100_000


def stream_counts(text: str) -> tuple[int, ...]:
    """`16`, `1,4,16`, or `1-64`, which doubles from the first to the last."""
    counts: list[int] = []
    for part in _COMMA.split(text.strip()):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"{text!r} is no list of numbers such as 16, 1,4,16 or 1-64")
        counts += _doubling(int(first), int(last) if dash else int(first))
    if not counts or min(counts) < 1 or max(counts) > MAX_STREAMS:
        raise ValueError(f"{text!r}: from 1 to {MAX_STREAMS:,} streams, the lower number first")
    return tuple(sorted(set(counts)))


def rates(text: str) -> tuple[float, ...]:
    """Requests a second: `2` or `0.5,1,2`."""
    try:
        numbers = sorted({float(part) for part in _COMMA.split(text.strip())})
    except ValueError:
        raise ValueError(f"{text!r} is no list of requests a second such as 2 or 0.5,1,2") from None
    if not all(0.001 <= number <= MAX_RATE for number in numbers):
        raise ValueError(f"{text!r}: from 0.001 to {MAX_RATE:,} requests a second")
    return tuple(numbers)


def body_field(text: str) -> tuple[str, Any]:
    """`name=value`: the value is JSON, or else text."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError(f"{text!r} is no field: write name=value, e.g. temperature=0")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def header(text: str) -> tuple[str, str]:
    """`Name: value`."""
    name, colon, value = text.partition(":")
    if not colon or not _HEADER_NAME.fullmatch(name.strip()):
        raise ValueError(f"{text!r} is no header: write 'Name: value'")
    return name.strip(), value.strip()


def _doubling(first: int, last: int) -> list[int]:
    counts = []
    count = first
    while 0 < count < last:
        counts.append(count)
        count *= 2
    return [*counts, last] if first <= last else []
