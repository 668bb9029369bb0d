"""What the HTTP door's log says of its traffic: the lines that ACCESS_LOG=true and LOG_FORMAT=json write."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

_HOURS = 24
_START = re.compile(r"start-up: .*?engine ready ([\d.]+) s")
_LONGEST_GAP = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class LoggedTraffic:
    """Requests that generated something, over the time between the first and the last.

    requests_by_hour: on an average day, hours of UTC. An hour counts as often as it lies in that time.
    request_seconds: on average, without the time in a queue.
    """

    requests: int
    days: float
    requests_by_hour: tuple[float, ...]
    prompt_tokens: float
    answer_tokens: float
    request_seconds: float


def read(text: str) -> LoggedTraffic | None:
    """The traffic that a log has; None where it has no line of a request."""
    entries = list(_requests(text))
    if not entries:
        return None
    times = [time for time, _ in entries]
    first = min(times)
    last = max(times)
    counts = [0] * _HOURS
    for time in times:
        counts[time.hour] += 1
    seen = _hours_between(first, last)
    answers = [entry for _, entry in entries]
    return LoggedTraffic(
        requests=len(entries),
        days=max((last - first) / timedelta(days=1), 1 / _HOURS),
        requests_by_hour=tuple(count / max(1, times_seen) for count, times_seen in zip(counts, seen, strict=True)),
        prompt_tokens=_mean([_number(entry, "prompt_tokens") for entry in answers]),
        answer_tokens=_mean([_number(entry, "completion_tokens") for entry in answers]),
        request_seconds=_mean([_number(entry, "seconds") - _number(entry, "queue_seconds") for entry in answers]),
    )


def cold_start_seconds(text: str) -> float | None:
    """How long the last start took that a log tells of, from the process's first moment until the engine was ready."""
    starts = _START.findall(text)
    return float(starts[-1]) if starts else None


def _requests(text: str) -> Iterator[tuple[datetime, dict[str, Any]]]:
    for line in text.splitlines():
        if '"completion_tokens"' not in line:
            continue
        # A container's log may put something before each line.
        _, brace, rest = line.partition("{")
        try:
            entry = json.loads(brace + rest)
        except ValueError:
            continue
        if not isinstance(entry, dict) or entry.get("message") != "request" or not _number(entry, "completion_tokens"):
            continue
        try:
            time = datetime.fromisoformat(str(entry.get("time")).replace("Z", "+00:00"))
        except ValueError:
            continue
        yield time.astimezone(timezone.utc), entry


def _hours_between(first: datetime, last: datetime) -> list[int]:
    """How often each hour of the day lies between two times, those of their own included."""
    seen = [0] * _HOURS
    time = first.replace(minute=0, second=0, microsecond=0)
    end = min(last, first + _LONGEST_GAP)
    while time <= end:
        seen[time.hour] += 1
        time += timedelta(hours=1)
    return seen


def _number(entry: dict[str, Any], name: str) -> float:
    value = entry.get(name)
    return float(value) if isinstance(value, (int, float)) else 0.0


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
