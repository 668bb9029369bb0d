"""A pattern of traffic: requests by the hour of the day, and their tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import request_log
from .errors import TrafficError

HOURS = 24
_PROMPT_TOKENS = 500.0
_ANSWER_TOKENS = 200.0
_FIELDS = ("requests_per_hour", "prompt_tokens", "answer_tokens", "request_seconds")


@dataclass(frozen=True, slots=True)
class TrafficPattern:
    """What comes on an average day.

    requests_by_hour: 24 numbers, from midnight on.
    prompt_tokens, answer_tokens: of one request on average.
    request_seconds: how long one takes, where that was measured; else None.
    note: where it comes from, for people.
    """

    requests_by_hour: tuple[float, ...]
    prompt_tokens: float = _PROMPT_TOKENS
    answer_tokens: float = _ANSWER_TOKENS
    request_seconds: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if len(self.requests_by_hour) != HOURS:
            raise TrafficError(f"a day has {HOURS} hours, and the pattern has {len(self.requests_by_hour)} numbers")
        if any(not 0 <= requests < 1e9 for requests in self.requests_by_hour):
            raise TrafficError("requests in an hour must be a number from 0 on")
        if self.prompt_tokens < 0 or self.answer_tokens <= 0:
            raise TrafficError("tokens of a request must be positive numbers")

    @property
    def requests_per_day(self) -> float:
        return sum(self.requests_by_hour)

    @property
    def busiest_hour(self) -> float:
        return max(self.requests_by_hour)


def parse_hours(text: str) -> tuple[float, ...]:
    """Requests by hour: one number for every hour, 24 of them, or stretches such as `9-17:300,17-9:10`.

    A stretch goes up to its second hour, and may go past midnight; hours that none names have no requests.

    Raises:
        TrafficError: it is none of these.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    try:
        if any(":" in part for part in parts):
            return _stretches(parts)
        numbers = tuple(float(part) for part in parts)
    except ValueError:
        numbers = ()
    if len(numbers) == 1:
        return numbers * HOURS
    if len(numbers) != HOURS:
        raise TrafficError(
            f"{text!r} is no pattern: give requests an hour as one number, as 24 numbers, or as stretches of hours, "
            "such as 9-17:300,17-9:10"
        )
    return numbers


def _stretches(parts: Sequence[str]) -> tuple[float, ...]:
    hours = [0.0] * HOURS
    for part in parts:
        when, _, requests = part.partition(":")
        first, _, end = when.partition("-")
        start = int(first)
        stop = int(end or start + 1)
        if not (0 <= start < HOURS and 0 <= stop <= HOURS):
            raise ValueError(part)
        length = (stop - start) % HOURS or HOURS
        for offset in range(length):
            hours[(start + offset) % HOURS] = float(requests)
    return tuple(hours)


def load(path: Path) -> TrafficPattern:
    """Read a pattern from a file: YAML or JSON with `requests_per_hour`, or a log of the HTTP door (ACCESS_LOG=true,
    LOG_FORMAT=json).

    Raises:
        TrafficError: it cannot be read, or is neither.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise TrafficError(f"{path} cannot be read: {error.strerror or error}") from error
    logged = request_log.read(text)
    if logged is not None:
        return TrafficPattern(
            requests_by_hour=logged.requests_by_hour,
            prompt_tokens=logged.prompt_tokens,
            answer_tokens=max(logged.answer_tokens, 1.0),
            request_seconds=logged.request_seconds,
            note=f"{path.name}: {logged.requests:,} requests in {logged.days:.1f} days, in hours of UTC",
        )
    return _from_fields(_fields(text, path), path)


def _fields(text: str, path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        fields = yaml.safe_load(text)
    except yaml.YAMLError:
        fields = None
    if not isinstance(fields, Mapping) or "requests_per_hour" not in fields:
        raise TrafficError(
            f"{path} is no pattern of traffic: it has no `requests_per_hour`, and no lines of requests as the HTTP "
            "door logs them with ACCESS_LOG=true and LOG_FORMAT=json"
        )
    unknown = [str(name) for name in fields if name not in _FIELDS]
    if unknown:
        raise TrafficError(f"{path}: {', '.join(unknown)} means nothing here; known are {', '.join(_FIELDS)}")
    return fields


def _from_fields(fields: Mapping[str, Any], path: Path) -> TrafficPattern:
    hours = fields["requests_per_hour"]
    try:
        if isinstance(hours, Sequence) and not isinstance(hours, str):
            by_hour = parse_hours(",".join(str(each) for each in hours))
        else:
            by_hour = parse_hours(str(hours))
        seconds = fields.get("request_seconds")
        return TrafficPattern(
            by_hour,
            float(fields.get("prompt_tokens", _PROMPT_TOKENS)),
            float(fields.get("answer_tokens", _ANSWER_TOKENS)),
            None if seconds is None else float(seconds),
            path.name,
        )
    except (TypeError, ValueError) as error:
        raise TrafficError(f"{path}: {error}") from error
    except TrafficError as error:
        raise TrafficError(f"{path}: {error}") from None
