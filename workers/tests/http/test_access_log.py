"""A line of log for each request, from outside."""

from __future__ import annotations

import json
from typing import Any

import httpx
from http_door import Door, serving

HELLO = [{"role": "user", "content": "Hello there, secret-prompt"}]


def ask(door: Door, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    body = {"messages": HELLO, **fields}
    return httpx.post(f"{door.url}/v1/chat/completions", json=body, headers=headers, timeout=60)


def test_a_line_of_log_for_each_request() -> None:
    settings = {"ACCESS_LOG": "1", "LOG_FORMAT": "json", "API_KEYS": "alice:sk-alice"}
    with serving(settings) as door:
        ask(door, {"authorization": "Bearer sk-alice", "x-request-id": "id-7"}, stream=True)
        door.process.terminate()
        door.ended()
        events = [json.loads(line) for line in door.log.splitlines()]
        event = next(event for event in events if event.get("request_id") == "id-7")
        assert event | {"message": "request", "status": 200, "key": "alice", "model": "echo"} == event
        assert event["completion_tokens"] > 0
        assert "secret-prompt" not in door.log
        assert "sk-alice" not in door.log


def test_content_is_logged_only_where_asked_for() -> None:
    with serving({"ACCESS_LOG": "1", "LOG_CONTENT": "1"}) as door:
        ask(door)
        door.process.terminate()
        door.ended()
        assert "secret-prompt" in door.log
    with serving({"LOG_CONTENT": "1"}, ready=False) as door:
        assert door.ended() == 2
        assert "LOG_CONTENT (from environment): needs ACCESS_LOG" in door.log
