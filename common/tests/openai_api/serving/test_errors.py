"""What goes wrong, as a client sees it; and what a client that goes away leaves behind: nothing."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

from engineroom.openai.sse import payloads

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "hello"}]
ENDLESS = {"ignore_eos": True, "echo_tokens_per_s": 50, "max_tokens": 4000}


def running(http: httpx.Client) -> int:
    match = re.search(r"^engineroom_echo_running (\d+)$", http.get("/metrics").text, re.MULTILINE)
    assert match
    return int(match[1])


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"temperature": 3}, "temperature", "decimal_above_max_value"),
        ({"echo": True}, "echo", "unsupported_parameter"),
        ({"best_of": 3}, "best_of", "unsupported_parameter"),
        ({"stream_options": {"include_usage": True}}, "stream_options", None),
        ({"top_logprobs": 2}, "top_logprobs", None),
        ({"modalities": ["text", "audio"]}, "modalities", "unsupported_value"),
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio", "unsupported_value"),
        ({"web_search_options": {}}, "web_search_options", "unsupported_parameter"),
        ({"messages": [{"role": "assistant"}]}, "messages.0.content", "invalid_type"),
        ({"messages": [{"role": "user", "content": "x" * 10_000}]}, "messages", "context_length_exceeded"),
        ({"echo_tokens_per_s": -1}, "echo_tokens_per_s", None),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"not": {}}}}},
            "response_format",
            "unsupported_schema",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "x"}}]}]},
            "messages.0.content.0",
            "unsupported_content_type",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]}
                ]
            },
            "messages.0.content.0",
            "unsupported_content_type",
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_wrong_request(
    http: httpx.Client, fields: dict[str, Any], param: str | None, code: str | None, stream: bool
) -> None:
    if "stream_options" in fields and stream:
        return  # it is allowed then
    answer = http.post(CHAT, json={"model": "echo", "messages": HELLO, "stream": stream, **fields})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert error["code"] == code
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]


def test_too_long_in_openai_s_words(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="echo", messages=[{"role": "user", "content": "x" * 10_000}])
    assert caught.value.code == "context_length_exceeded"
    assert "maximum context length is 4096 tokens" in caught.value.message


@pytest.mark.parametrize("stream", [False, True])
def test_an_engine_that_fails_before_its_first_token(http: httpx.Client, stream: bool) -> None:
    answer = http.post(CHAT, json={"model": "echo", "messages": HELLO, "stream": stream, "echo_fault": "error"})
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "server_error"


def test_an_engine_that_fails_amid_a_stream(http: httpx.Client, client: openai.OpenAI) -> None:
    fault = {"echo_fault": "error", "echo_fault_after": 2}
    answer = http.post(CHAT, json={"model": "echo", "messages": HELLO, "stream": True, **fault})
    assert answer.status_code == 200
    *events, last = [json.loads(event) for event in payloads(answer.content)]
    assert "".join(event["choices"][0]["delta"].get("content") or "" for event in events) == "hell"
    assert last["error"]["type"] == "server_error"
    with pytest.raises(openai.APIError, match="asked for it"):
        for _ in client.chat.completions.create(
            model="echo", messages=[{"role": "user", "content": "hello"}], stream=True, extra_body=fault
        ):
            pass


def test_an_engine_that_fails_amid_an_answer(http: httpx.Client) -> None:
    fault = {"echo_fault": "error", "echo_fault_after": 2}
    assert http.post(CHAT, json={"model": "echo", "messages": HELLO, "n": 3, **fault}).status_code == 500
    eventually(lambda: running(http) == 0)


@pytest.mark.parametrize("n", [1, 4])
def test_a_client_that_leaves_a_stream(http: httpx.Client, n: int) -> None:
    body = {"model": "echo", "messages": HELLO, "stream": True, "n": n, **ENDLESS}
    with http.stream("POST", CHAT, json=body) as answer:
        chunks = answer.iter_bytes()  # httpx closes the answer when this is collected
        next(chunks)
        eventually(lambda: running(http) == n)
    eventually(lambda: running(http) == 0)


def test_a_client_that_leaves_before_the_answer(http: httpx.Client, url: str) -> None:
    body = {"model": "echo", "messages": HELLO, **ENDLESS}
    with httpx.Client(base_url=url) as other, pytest.raises(httpx.ReadTimeout):
        other.post(CHAT, json=body, timeout=0.5)
    eventually(lambda: running(http) == 0)


def test_a_stop_string_ends_the_generation(http: httpx.Client) -> None:
    body = {"model": "echo", "messages": HELLO, "stop": "oh", **ENDLESS}
    assert http.post(CHAT, json=body).json()["choices"][0]["message"]["content"] == "hell"
    eventually(lambda: running(http) == 0)


def test_many_at_once(url: str) -> None:
    """64 streams, each with its own text, none mixed up with another's."""
    texts: dict[int, str] = {}

    def one(number: int) -> None:
        with openai.OpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0, timeout=60) as client:
            stream = client.chat.completions.create(
                model="echo",
                messages=[{"role": "user", "content": f"I am {number} 😀 "}],
                stream=True,
                extra_body={"echo_repeat": 6, "echo_tokens_per_s": 60},
            )
            texts[number] = "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert texts == {number: f"I am {number} 😀 " * 6 for number in range(64)}
