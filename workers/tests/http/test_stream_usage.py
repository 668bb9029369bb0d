"""What streams took is counted exactly, whether or not their clients ask to be told."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import openai
import pytest
from http_door import Door, serving
from standin_streams import USAGE, StandinStreams

HELLO = [{"role": "user", "content": "Hello there, all of you"}]
NOT_ASKING: list[dict[str, Any]] = [
    {},
    {"stream_options": None},
    {"stream_options": {}},
    {"stream_options": {"include_usage": False}},
]


def ask(door: Door, **fields: Any) -> httpx.Response:
    body = {"messages": HELLO, "temperature": 0, **fields}
    return httpx.post(f"{door.url}/v1/chat/completions", json=body, timeout=60)


def stream(door: Door, **fields: Any) -> list[dict[str, Any]]:
    """The chunks of a stream that is whole."""
    answer = ask(door, stream=True, **fields)
    assert answer.status_code == 200, answer.text
    *events, done, rest = answer.text.replace("\r\n", "\n").split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: ")) for event in events]


def counted(door: Door) -> tuple[float, float]:
    return door.metric("engineroom_prompt_tokens_total"), door.metric("engineroom_completion_tokens_total")


def becomes(door: Door, *expected: float) -> None:
    """Wait for the counts, which follow the end of an answer."""
    deadline = time.monotonic() + 30
    while (now := counted(door)) != expected:
        assert time.monotonic() < deadline, f"{now} were counted, not {expected}"
        time.sleep(0.05)


@pytest.mark.parametrize("fields", NOT_ASKING, ids=str)
def test_a_stream_without_usage_is_counted_and_stays_without(fields: dict[str, Any]) -> None:
    with serving() as door:
        usage = ask(door).json()["usage"]
        before = usage["prompt_tokens"], usage["completion_tokens"]
        becomes(door, *before)
        chunks = stream(door, **fields)
        assert all(chunk["choices"] and "usage" not in chunk for chunk in chunks)
        assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == HELLO[0]["content"]
        becomes(door, 2 * before[0], 2 * before[1])


def test_who_asks_for_usage_gets_it() -> None:
    with serving() as door:
        *others, last = stream(door, stream_options={"include_usage": True})
        assert last["choices"] == []
        becomes(door, last["usage"]["prompt_tokens"], last["usage"]["completion_tokens"])
        assert all(chunk["usage"] is None for chunk in others)


def test_what_is_not_well_formed_is_still_refused() -> None:
    with serving() as door:
        for fields in ({"stream": True, "stream_options": 3}, {"stream_options": {"include_usage": True}}):
            refused = ask(door, **fields)
            assert refused.status_code == 400, refused.text
            assert "stream_options" in refused.text


def test_completions_are_counted_too() -> None:
    with serving() as door:
        client = openai.OpenAI(base_url=f"{door.url}/v1", api_key="none", max_retries=0)
        whole = client.completions.create(model="echo", prompt=["one two", "three"])
        assert whole.usage is not None
        chunks = list(client.completions.create(model="echo", prompt=["one two", "three"], stream=True))
        assert all(chunk.choices and chunk.usage is None for chunk in chunks)
        becomes(door, 2 * whole.usage.prompt_tokens, 2 * whole.usage.completion_tokens)


def test_a_kept_stream_answers_a_whole_request() -> None:
    with serving({"CACHE_TTL": "60"}) as door:
        stream(door)
        whole = ask(door)
        assert "hit" in whole.headers["cache-status"]
        usage = whole.json()["usage"]
        becomes(door, usage["prompt_tokens"], usage["completion_tokens"])
        again = stream(door)
        assert all(chunk["choices"] for chunk in again)


def test_the_minutes_tokens_count_what_a_stream_took() -> None:
    with serving({"TOKENS_PER_MINUTE": "1000"}) as door:
        usage = ask(door, max_tokens=1).json()["usage"]
        before = int(ask(door, max_tokens=1, stream=True).headers["x-ratelimit-remaining-tokens"])
        after = int(ask(door, max_tokens=1, stream=True).headers["x-ratelimit-remaining-tokens"])
        assert before - after >= usage["prompt_tokens"] + 1


def test_events_that_come_in_pieces() -> None:
    for piece in (1, 50, 100_000):
        with (
            StandinStreams(piece=piece) as server,
            serving({"ENGINE": "upstream", "UPSTREAM_URLS": server.url}) as door,
        ):
            chunks = stream(door, model="m")
            deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
            assert deltas[0]["role"] == "assistant", "the server sends none, and clients want one"
            assert [delta["content"] for delta in deltas[1:]] == ['a ,"usage":null b', "ü"]
            assert all("usage" not in chunk for chunk in chunks)
            becomes(door, USAGE["prompt_tokens"], USAGE["completion_tokens"])


def test_a_server_that_refuses_to_be_asked_is_not_asked_again() -> None:
    with StandinStreams(strict=True) as server, serving({"ENGINE": "upstream", "UPSTREAM_URLS": server.url}) as door:
        for _ in range(2):
            assert len(stream(door, model="m")) == 3, "the server's two, after one with the role"
        assert ["stream_options" in body for body in server.asked] == [True, False, False]
        asked = ask(door, model="m", stream=True, stream_options={"include_usage": True})
        assert asked.status_code == 422


def test_without_metrics_a_request_is_left_as_it_is() -> None:
    settings = {"ENGINE": "upstream", "METRICS": "false"}
    with StandinStreams() as server, serving({**settings, "UPSTREAM_URLS": server.url}) as door:
        stream(door, model="m")
        assert "stream_options" not in server.asked[0]
