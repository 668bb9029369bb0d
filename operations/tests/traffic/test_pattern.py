"""Patterns as people write them, and out of the HTTP door's own log."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from engineroom.logs import Event, JSONFormatter
from engineroom_operations.traffic import TrafficError, cold_start_seconds, load, parse_hours


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("10", dict.fromkeys(range(24), 10)),
        (",".join(str(hour) for hour in range(24)), {hour: hour for hour in range(24)}),
        ("9-17:300,17-9:5", {8: 5, 9: 300, 16: 300, 17: 5, 0: 5}),
        ("22-2:7", {21: 0, 22: 7, 23: 7, 0: 7, 1: 7, 2: 0}),
        ("8:4", {7: 0, 8: 4, 9: 0}),
        ("0-24:3", {0: 3, 23: 3}),
        (" 0-12: 1 , 12-24: 2 ", {11: 1, 12: 2}),
    ],
)
def test_patterns_are_read_as_people_write_them(text: str, hours: dict[int, float]) -> None:
    parsed = parse_hours(text)
    assert {hour: parsed[hour] for hour in hours} == hours


@pytest.mark.parametrize("text", ["", "many", "1,2,3", "9-17", "25-26:1", "9-17:x", "-1", "9-17:-3", "nan", "inf"])
def test_what_is_no_pattern_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "traffic.yaml"
    path.write_text(json.dumps({"requests_per_hour": text}))
    with pytest.raises(TrafficError):
        load(path)


def test_a_file_has_hours_and_tokens(tmp_path: Path) -> None:
    path = tmp_path / "traffic.yaml"
    path.write_text("requests_per_hour: 9-17:300\nprompt_tokens: 1200\nanswer_tokens: 80\nrequest_seconds: 2.5\n")
    pattern = load(path)
    assert pattern.requests_per_day == 2400
    assert (pattern.prompt_tokens, pattern.answer_tokens, pattern.request_seconds) == (1200, 80, 2.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("requests_per_hour: 1\nprompt_tokns: 3\n", "prompt_tokns means nothing here"),
        ("model: x\n", "no `requests_per_hour`"),
        ("12:34:56 INFO request path=/v1/chat/completions completion_tokens=3\n", "LOG_FORMAT=json"),
        ("[", "no `requests_per_hour`"),
        ("", "no `requests_per_hour`"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "traffic.yaml"
    path.write_text(text)
    with pytest.raises(TrafficError, match=message):
        load(path)


def line(created: float, tokens: int, *, prefix: str = "", **fields: object) -> str:
    """A line as the door's log has it, made by the door's own formatter."""
    event = Event(
        "request", path="/v1/chat/completions", status=200, prompt_tokens=100, completion_tokens=tokens, **fields
    )
    record = logging.LogRecord("engineroom_workers.access", logging.INFO, "x", 1, event, None, None)
    record.created = created
    return prefix + JSONFormatter().format(record)


def test_a_log_of_the_http_door_is_a_pattern(tmp_path: Path) -> None:
    hour = 3600.0
    day = 24 * hour
    lines = ["start-up: interpreter 0.31 s, engine ready 41.70 s", "not json", '{"message": "ready"}']
    for each in range(2):
        start = each * day
        lines += [line(start + 9 * hour + second, 20, seconds=3.0, queue_seconds=1.0) for second in range(60)]
        lines += [line(start + 21 * hour, 40, seconds=2.0, queue_seconds=0.0, prefix="worker-1  | ")]
    lines += [line(9 * hour, 0, seconds=0.01, queue_seconds=0.0)]  # A list of models, or an error.
    path = tmp_path / "worker.log"
    path.write_text("\n".join(lines))
    pattern = load(path)
    assert pattern.requests_by_hour[9] == 60
    assert pattern.requests_by_hour[21] == 1
    assert pattern.requests_per_day == 61
    assert pattern.prompt_tokens == 100
    assert pattern.answer_tokens == pytest.approx((120 * 20 + 2 * 40) / 122)
    assert pattern.request_seconds == pytest.approx(2.0)
    assert "122 requests in 1.5 days" in pattern.note
    assert cold_start_seconds(path.read_text()) == 41.7


def test_a_log_without_a_start_has_no_cold_start() -> None:
    assert cold_start_seconds("nothing here") is None
