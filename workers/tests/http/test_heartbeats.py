"""Streams whose engine is silent, from outside: heartbeats until the first event, and between events."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import anthropic
import httpx
import openai
import pytest
from http_door import Door, serving
from server_process import until

HELLO: list[Any] = [{"role": "user", "content": "one two three"}]
SILENT = {"echo_ttft_ms": 500}
"""What makes the engine silent for longer than a heartbeat."""
HEARTBEAT = ": heartbeat"
HEARTBEATS = {"STREAM_HEARTBEAT": "0.1"}


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    layers = {
        "ACCESS_LOG": "1",
        "CACHE_TTL": "60",
        "CORS_ORIGINS": "*",
        "LOG_FORMAT": "json",
        "REQUESTS_PER_MINUTE": "10000",
        "SECURITY_HEADERS": "1",
    }
    with serving({**HEARTBEATS, **layers}) as running:
        yield running


def body(**fields: Any) -> dict[str, Any]:
    return {"messages": HELLO, "stream": True, **fields}


@contextmanager
def streaming(door: Door, path: str = "/v1/chat/completions", **fields: Any) -> Iterator[httpx.Response]:
    headers = {"origin": "https://page.example"}
    with httpx.stream("POST", door.url + path, json=body(**fields), headers=headers, timeout=60) as response:
        yield response


def blocks_of(door: Door, path: str = "/v1/chat/completions", **fields: Any) -> list[str]:
    """The comments and events of a stream that has begun with 200."""
    with streaming(door, path, **fields) as response:
        text = response.read().decode()
    assert response.status_code == 200
    return [block for block in text.split("\n\n") if block]


def last_error(blocks: list[str]) -> dict[str, Any]:
    """The error with which a stream ends, after heartbeats and nothing else."""
    assert set(blocks[:-1]) == {HEARTBEAT}
    error: dict[str, Any] = json.loads(blocks[-1].partition("data: ")[2])["error"]
    return error


def logged(door: Door, request_id: str) -> dict[str, Any]:
    """The access log's line of a request."""
    found: list[dict[str, Any]] = []

    def look() -> bool:
        found[:] = [json.loads(line) for line in door.log.splitlines() if request_id in line and '"path"' in line]
        return bool(found)

    until(look)
    return found[0]


def content(blocks: list[str]) -> str:
    """The text of a streamed chat."""
    events = [json.loads(block[6:]) for block in blocks if block.startswith("data: {")]
    return "".join(choice["delta"].get("content") or "" for event in events for choice in event["choices"])


def test_a_silent_stream_has_its_headers_and_heartbeats_first(door: Door) -> None:
    with streaming(door, **SILENT, temperature=0) as response:
        text = response.read().decode()
    blocks = [block for block in text.split("\n\n") if block]
    assert blocks[0] == HEARTBEAT
    assert blocks[-1] == "data: [DONE]"
    assert content(blocks) == "one two three"
    headers = response.headers
    assert headers["content-type"].startswith("text/event-stream")
    assert headers["access-control-allow-origin"] == "*"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-ratelimit-limit-requests"] == "10000"
    assert "fwd=miss" in headers["cache-status"]
    line = logged(door, headers["x-request-id"])
    assert line["completion_tokens"] > 0
    # What was kept of it has no heartbeats, whichever way it is asked for again.
    with streaming(door, **SILENT, temperature=0) as again:
        kept = again.read().decode()
    assert "; hit" in again.headers["cache-status"]
    assert HEARTBEAT not in kept
    whole = httpx.post(f"{door.url}/v1/chat/completions", json={**body(**SILENT, temperature=0), "stream": False})
    assert whole.json()["choices"][0]["message"]["content"] == "one two three"


def test_a_heartbeat_is_no_first_token() -> None:
    with serving(HEARTBEATS) as door:
        blocks = blocks_of(door, **SILENT)
        assert blocks[0] == HEARTBEAT
        # A client may have the end of a stream before the door has counted it.
        until(lambda: door.metric("engineroom_completion_tokens_total") > 0)
        seconds = door.metric("engineroom_time_to_first_token_seconds_sum")
        assert seconds >= 0.5
        tokens = door.metric("engineroom_completion_tokens_total")
        blocks_of(door, **SILENT)
        until(lambda: door.metric("engineroom_completion_tokens_total") == 2 * tokens)
        assert door.metric("engineroom_time_to_first_token_seconds_count") == 2
        # Nor do those between events make gaps between tokens of their own.
        gaps = door.metric("engineroom_inter_token_seconds_count")
        blocks = blocks_of(door, echo_tokens_per_s=3)
        assert HEARTBEAT in blocks[2:-2]
        assert content(blocks) == "one two three"
        events = sum(block.startswith("data: {") for block in blocks)
        until(lambda: door.metric("engineroom_completion_tokens_total") > 2 * tokens)
        assert 0 < door.metric("engineroom_inter_token_seconds_count") - gaps < events


def test_openai_s_and_anthropic_s_clients_skip_heartbeats(door: Door) -> None:
    with openai.OpenAI(base_url=f"{door.url}/v1", api_key="none", max_retries=0) as client:
        chunks = client.chat.completions.create(
            model="echo", messages=HELLO, stream=True, extra_body={**SILENT, "echo_tokens_per_s": 4}
        )
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "one two three"
        events = client.responses.create(model="echo", input="one two three", stream=True, extra_body=SILENT)
        assert [event.type for event in events][-1] == "response.completed"
        with pytest.raises(openai.APIError, match="echo_fault"):
            list(
                client.chat.completions.create(
                    model="echo", messages=HELLO, stream=True, extra_body={**SILENT, "echo_fault": "error"}
                )
            )
    with anthropic.Anthropic(base_url=door.url, api_key="none", max_retries=0) as client:
        with client.messages.stream(model="echo", messages=HELLO, max_tokens=50, extra_body=SILENT) as stream:
            assert stream.get_final_text() == "one two three"
        with (
            pytest.raises(anthropic.APIError, match="echo_fault"),
            client.messages.stream(
                model="echo", messages=HELLO, max_tokens=50, extra_body={**SILENT, "echo_fault": "error"}
            ) as stream,
        ):
            stream.until_done()


def test_an_error_that_comes_soon_keeps_its_status() -> None:
    with serving({"STREAM_HEARTBEAT": "30"}) as door:
        for fields, status in (({"model": "no/such"}, 404), ({"temperature": 9}, 400), ({"echo_fault": "error"}, 500)):
            with streaming(door, **fields) as response:
                assert response.status_code == status
                assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"])
def test_an_error_after_a_heartbeat_is_an_event(door: Door, path: str) -> None:
    asked = {"prompt": "one", "input": "one", "messages": HELLO, "max_tokens": 9}
    names = {"/v1/chat/completions": "messages", "/v1/completions": "prompt", "/v1/responses": "input"}
    kept = (names[path],) if path in names else ("messages", "max_tokens")
    fields = {name: asked[name] for name in kept}
    request = {"model": "echo", "stream": True, **fields, **SILENT, "echo_fault": "error"}
    response = httpx.post(door.url + path, json=request, timeout=60)
    blocks = [block for block in response.text.split("\n\n") if block]
    assert response.status_code == 200
    assert last_error(blocks)["message"]
    # Who looks after the worker is told what became of it.
    assert logged(door, response.headers["x-request-id"])["status"] == 500


def test_an_engine_that_dies_after_a_heartbeat_is_told_in_the_stream() -> None:
    with serving(HEARTBEATS) as door:
        blocks = blocks_of(door, **SILENT, echo_fault="die")
        assert last_error(blocks)["code"] == "engine_dead"
        assert door.ended() != 0


def test_an_engine_that_is_started_again_answers_after_heartbeats() -> None:
    with serving({**HEARTBEATS, "ENGINE_RESTARTS": "1"}) as door, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(blocks_of, door, echo_ttft_ms=2000)
        until(lambda: door.metric("engineroom_echo_running") == 1)
        died = blocks_of(door, echo_fault="die", echo_fault_after=2)
        assert "echo_fault=die" in died[-1]
        # Heartbeats are no part of the engine's response: its successor can still begin one.
        blocks = waiting.result()
        assert blocks[0] == HEARTBEAT
        assert content(blocks) == "one two three"
        assert door.metric("engineroom_engine_restarts") == 1


def test_a_request_that_waits_for_its_turn_has_heartbeats() -> None:
    limits = {"MAX_CONCURRENT_REQUESTS": "1", "QUEUE_TIMEOUT": "0.5", "ACCESS_LOG": "1", "LOG_FORMAT": "json"}
    with serving({**HEARTBEATS, **limits}) as door, streaming(door, echo_fault="hang", echo_fault_after=1) as first:
        lines = first.iter_lines()
        assert next(lines).startswith((":", "data: "))
        with streaming(door) as second:
            blocks = [block for block in second.read().decode().split("\n\n") if block]
        assert last_error(blocks)["code"] == "server_busy"
        assert logged(door, second.headers["x-request-id"])["status"] == 503


def test_an_engine_that_falls_silent_amid_a_stream_has_heartbeats(door: Door) -> None:
    with streaming(door, echo_fault="hang", echo_fault_after=2) as response:
        lines = (line for line in response.iter_lines() if line)
        until(lambda: next(lines).startswith("data: "))
        until(lambda: next(lines) == HEARTBEAT)
        until(lambda: next(lines) == HEARTBEAT)


def test_a_client_that_leaves_during_the_silence_ends_its_generation(door: Door) -> None:
    until(lambda: door.metric("engineroom_echo_running") == 0)
    with streaming(door, echo_ttft_ms=60_000) as response:
        lines = response.iter_lines()
        assert next(lines) == HEARTBEAT
        assert door.metric("engineroom_echo_running") == 1
    until(lambda: door.metric("engineroom_echo_running") == 0)


def test_nothing_is_sent_ahead_where_it_is_switched_off_or_nothing_is_streamed(door: Door) -> None:
    whole = httpx.post(f"{door.url}/v1/chat/completions", json={**body(**SILENT), "stream": False}, timeout=60)
    assert whole.headers["content-type"] == "application/json"
    assert whole.json()["choices"][0]["message"]["content"] == "one two three"
    assert httpx.head(f"{door.url}/v1/models").status_code == 200
    with serving({"STREAM_HEARTBEAT": "0"}) as silent:
        with streaming(silent, **SILENT, echo_fault="error") as response:
            assert response.status_code == 500
        assert not re.search("^:", "\n".join(blocks_of(silent, **SILENT)), re.M)
