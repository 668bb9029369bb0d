"""Request ids, from outside."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
from http_door import Door, serving

HELLO = [{"role": "user", "content": "Hello"}]
LOGGED = {"ACCESS_LOG": "1", "LOG_FORMAT": "json"}


def ask(door: Door, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    body = {"messages": HELLO, **fields}
    return httpx.post(f"{door.url}/v1/chat/completions", json=body, headers=headers, timeout=60)


def test_request_ids_are_passed_on_or_made() -> None:
    with serving() as door:
        assert ask(door, {"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
        assert re.fullmatch(r"req_[0-9a-f]{32}", ask(door).headers["x-request-id"])
        assert ask(door, {"x-request-id": "x" * 500}).headers["x-request-id"].startswith("req_")
        assert ask(door, model="nope").headers["x-request-id"].startswith("req_")


def test_one_of_two_request_ids_counts_everywhere() -> None:
    with serving(LOGGED) as behind:
        settings = {**LOGGED, "ENGINE": "upstream", "UPSTREAM_URLS": f"{behind.url}/v1"}
        with serving(settings) as door:
            body = {"messages": [{"role": "user", "content": "Hello"}]}
            two = [("x-request-id", "one"), ("x-request-id", "two")]
            answer = httpx.post(f"{door.url}/v1/chat/completions", json=body, headers=two, timeout=30)
            assert answer.headers.get_list("x-request-id") == ["one"]
            for each in (door, behind):
                each.process.terminate()
                assert each.ended() == 0
                lines = [json.loads(line) for line in each.log.split("\n") if line]
                assert [line["request_id"] for line in lines if line.get("method") == "POST"] == ["one"]


def test_requests_have_ids_without_metrics_too() -> None:
    with serving({"METRICS": "false"}) as door:
        assert ask(door, {"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
