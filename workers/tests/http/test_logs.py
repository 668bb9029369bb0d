"""The log as machines read it, from outside."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from http_door import Door, serving

JSON = {"LOG_FORMAT": "json"}


def lines(door: Door) -> list[dict[str, Any]]:
    """Every line that the door wrote; each must be an object."""
    return [json.loads(line) for line in door.log.split("\n") if line]


@pytest.mark.parametrize(
    ("settings", "code", "message"),
    [
        ({"ECHO_FAULT": "start"}, 1, "ECHO_FAULT=start"),
        ({"API_KEYS_FILE": "/there/is/none"}, 2, "API_KEYS_FILE"),
        ({"CACHE_TTL": "9", "REDIS_URL": "localhost"}, 2, "REDIS_URL"),
    ],
)
def test_why_it_did_not_start_is_a_line_as_any_other(settings: dict[str, str], code: int, message: str) -> None:
    with serving({**JSON, **settings}, ready=False) as door:
        assert door.ended() == code
        last = lines(door)[-1]
        assert last["level"] == "CRITICAL"
        assert message in last["message"]


def test_why_it_ended_too() -> None:
    with serving(JSON) as door:
        body = {"messages": [{"role": "user", "content": "Hello"}], "stream": True, "echo_fault": "die"}
        httpx.post(f"{door.url}/v1/chat/completions", json=body, timeout=30)
        assert door.ended(60) == 1
        assert "echo_fault=die" in lines(door)[-1]["message"]


def test_what_is_no_http_and_odd_paths_are_lines_too() -> None:
    with serving({**JSON, "ACCESS_LOG": "1"}) as door:
        httpx.get(f'{door.url}/v1/%0a{{"a":1}}%e2%80%a8%ff')
        httpx.request("NOWAY", f"{door.url}/v1/models")
        door.process.terminate()
        assert door.ended() == 0
        logged = lines(door)
        assert any(line.get("path") == '/v1/\n{"a":1}\u2028\ufffd' for line in logged)
        assert any("Invalid HTTP" in line["message"] for line in logged)
