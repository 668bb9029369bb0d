"""The cache of answers, from outside."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from http_door import Door, serving
from redis import Redis
from redis_server import RedisServer
from server_process import until
from standin_server import Handler, StandinServer

ON = {"CACHE_TTL": "60"}


def ask(door: Door, text: str, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    body = {"messages": [{"role": "user", "content": text}], "temperature": 0, **fields}
    return httpx.post(f"{door.url}/v1/chat/completions", json=body, headers=headers, timeout=90)


def status(answer: httpx.Response) -> str:
    return answer.headers["cache-status"].removeprefix("engineroom; ").partition(" ttl")[0].rstrip(";")


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with serving(ON) as door:
        yield door


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    server.stop()


def test_an_equal_request_is_answered_from_the_cache(door: Door) -> None:
    first = ask(door, "once")
    generated = door.metric("engineroom_echo_tokens_total")
    second = ask(door, "once")
    assert [status(first), status(second)] == ["fwd=miss", "hit"]
    assert second.json() == first.json()
    assert door.metric("engineroom_echo_tokens_total") == generated
    assert status(ask(door, "once", seed=3)) == "fwd=miss"
    assert door.metric('engineroom_cache_requests_total{result="hit"}') >= 1


def test_no_key_learns_what_another_asked() -> None:
    with serving({**ON, "API_KEYS": "a:sk-a,b:sk-b"}) as door:

        def by(key: str, **control: str) -> httpx.Response:
            return ask(door, "a secret", {"authorization": f"Bearer {key}", **control})

        only = {"cache-control": "only-if-cached"}
        assert status(by("sk-a")) == "fwd=miss"
        assert by("sk-b", **only).status_code == 504
        assert status(by("sk-b")) == "fwd=miss"
        assert [status(by(key)) for key in ("sk-a", "sk-b")] == ["hit", "hit"]
        assert by("sk-a", **only).status_code == 200


def test_keys_share_the_cache_where_that_is_wanted() -> None:
    with serving({**ON, "API_KEYS": "a:sk-a,b:sk-b", "CACHE_SHARED": "true"}) as door:
        answers = [ask(door, "no secret", {"authorization": f"Bearer {key}"}) for key in ("sk-a", "sk-b")]
        assert [status(answer) for answer in answers] == ["fwd=miss", "hit"]


@pytest.mark.parametrize(
    "delivery",
    [
        {"stream": 1},
        {"stream": 0},
        {"stream": "true"},
        {"stream": True, "stream_options": {"include_usage": 1}},
        {"stream": True, "stream_options": {"include_usage": "yes"}},
        {"stream": True, "stream_options": []},
        {"stream": False, "stream_options": {"include_usage": True}},
    ],
    ids=str,
)
def test_what_is_refused_is_refused_though_an_equal_request_is_kept(door: Door, delivery: dict[str, Any]) -> None:
    assert ask(door, "kept").status_code == 200
    assert ask(door, "kept", **delivery).status_code == 400


@pytest.mark.parametrize("first_streamed", [True, False])
@pytest.mark.parametrize("n", [1, 2])
def test_one_entry_answers_streamed_and_whole(door: Door, first_streamed: bool, n: int) -> None:
    client = openai.OpenAI(base_url=f"{door.url}/v1", api_key="none", max_retries=0)
    fields: dict[str, Any] = {
        "model": "echo",
        "messages": [{"role": "user", "content": f"🦙 both {first_streamed} {n}"}],
        "temperature": 0,
        "n": n,
        "logprobs": True,
    }
    usage = {"stream_options": {"include_usage": True}}

    def streamed() -> tuple[list[str], int, int]:
        texts, chunks = [""] * n, list(client.chat.completions.create(**fields, stream=True, **usage))
        for chunk in chunks:
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
        finishes = sum(choice.finish_reason == "stop" for chunk in chunks for choice in chunk.choices)
        assert chunks[-1].usage is not None
        return texts, finishes, chunks[-1].usage.completion_tokens

    def whole() -> tuple[list[str], int, int]:
        answer = client.chat.completions.create(**fields)
        assert answer.usage is not None
        texts = [choice.message.content or "" for choice in answer.choices]
        assert all(choice.logprobs and choice.logprobs.content for choice in answer.choices)
        return texts, sum(c.finish_reason == "stop" for c in answer.choices), answer.usage.completion_tokens

    before = door.metric('engineroom_cache_requests_total{result="hit"}')
    answers = [streamed(), whole(), streamed()] if first_streamed else [whole(), streamed(), whole()]
    assert answers[0] == answers[1] == answers[2]
    assert door.metric('engineroom_cache_requests_total{result="hit"}') == before + 2


def test_a_streamed_answer_without_usage_does_not_stand_for_a_whole_one() -> None:
    with serving({**ON, "METRICS": "false"}) as door:
        assert status(ask(door, "no usage", stream=True)) == "fwd=miss"
        assert status(ask(door, "no usage", stream=True)) == "hit"
        whole = ask(door, "no usage")
        assert status(whole) == "fwd=miss"
        assert whole.json()["usage"]["completion_tokens"] > 0
        assert status(ask(door, "no usage")) == "hit"


def test_who_has_the_last_of_an_answer_finds_it_kept(door: Door) -> None:
    with httpx.Client() as client:
        for number in range(200):
            body = {"messages": [{"role": "user", "content": f"at once {number}"}], "temperature": 0}
            for expected in ("fwd=miss", "hit"):
                assert status(client.post(f"{door.url}/v1/chat/completions", json=body, timeout=30)) == expected


def test_completions_and_embeddings_too(door: Door) -> None:
    client = openai.OpenAI(base_url=f"{door.url}/v1", api_key="none", max_retries=0)
    texts = [client.completions.create(model="echo", prompt="p", seed=1).choices[0].text for _ in range(2)]
    stream = client.completions.create(model="echo", prompt="p", seed=1, stream=True)
    assert [*texts, "".join(chunk.choices[0].text for chunk in stream)] == [texts[0]] * 3
    body = {"model": "echo", "input": "vector"}
    statuses = [status(httpx.post(f"{door.url}/v1/embeddings", json=body)) for _ in range(2)]
    assert statuses == ["fwd=miss", "hit"]


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0.7},
        {"temperature": None},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"temperature": None, "seed": -1},
        {"temperature": 1, "seed": 4294967295},
        {"temperature": 99},
        {"stream": "yes"},
        {"stream_options": {"include_usage": True}},
    ],
)
def test_what_is_not_deterministic_or_not_right_is_not_kept(door: Door, fields: dict[str, Any]) -> None:
    answers = [ask(door, f"never {sorted(fields)}", **fields) for _ in range(2)]
    assert "hit" not in [status(answer) for answer in answers if answer.status_code == 200]
    assert len({answer.status_code for answer in answers}) == 1


def test_cache_control_is_honoured(door: Door) -> None:
    assert status(ask(door, "control", {"cache-control": "no-store"})) == "fwd=bypass"
    assert status(ask(door, "control")) == "fwd=miss"
    fresh = ask(door, "control", {"cache-control": "no-cache"})
    assert status(fresh) == "fwd=request"
    kept = ask(door, "control")
    assert status(kept) == "hit"
    assert kept.json()["id"] == fresh.json()["id"]


def test_a_request_may_want_a_younger_answer_or_none_but_a_kept_one(door: Door) -> None:
    assert ask(door, "age", {"cache-control": "only-if-cached"}).status_code == 504
    assert status(ask(door, "age")) == "fwd=miss"
    assert status(ask(door, "age", {"cache-control": "Only-If-Cached"})) == "hit"
    assert status(ask(door, "age", {"cache-control": "max-age=60"})) == "hit"
    until(lambda: status(ask(door, "age", {"cache-control": "max-age=1"})) == "fwd=miss")


def test_a_request_that_is_never_kept_is_not_asked_either_where_only_a_kept_answer_is_wanted(door: Door) -> None:
    refused = ask(door, "never kept", {"cache-control": "only-if-cached"}, temperature=0.7)
    assert (refused.status_code, refused.json()["error"]["code"]) == (504, "not_cached")


def test_cache_control_may_come_in_several_lines(door: Door) -> None:
    assert status(ask(door, "lines")) == "fwd=miss"
    body = {"messages": [{"role": "user", "content": "lines"}], "temperature": 0}
    lines = [("cache-control", "max-age=600"), ("cache-control", "no-store")]
    answer = httpx.post(f"{door.url}/v1/chat/completions", json=body, headers=lines, timeout=30)
    assert status(answer) == "fwd=bypass"


def test_equal_requests_under_way_are_asked_once(door: Door) -> None:
    before = door.metric("engineroom_echo_tokens_total")
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: ask(door, "single flight", echo_ttft_ms=4000), range(10)))
    assert sorted(status(answer) for answer in answers) == ["fwd=miss"] + ["fwd=miss; collapsed"] * 9
    assert len({answer.text for answer in answers}) == 1
    tokens = answers[0].json()["usage"]["completion_tokens"]
    # The watchdog may have asked for a token while the engine was silent.
    assert door.metric("engineroom_echo_tokens_total") - before < 2 * tokens


def test_one_whose_leader_leaves_asks_itself(door: Door) -> None:
    with ThreadPoolExecutor(1) as pool:

        def lead() -> None:
            body = {"messages": [{"role": "user", "content": "leader"}], "temperature": 0, "echo_ttft_ms": 2000}
            httpx.post(f"{door.url}/v1/chat/completions", json=body, timeout=1)

        leader = pool.submit(lead)
        time.sleep(0.3)
        answer = ask(door, "leader", echo_ttft_ms=2000)
        assert answer.status_code == 200
        assert status(answer) == "fwd=miss"
        assert isinstance(leader.exception(), httpx.ReadTimeout)


def test_one_who_takes_nothing_holds_nobody_up(door: Door) -> None:
    fields = {"stream": True, "max_tokens": 50_000, "ignore_eos": True}
    body = json.dumps({"messages": [{"role": "user", "content": "slow"}], "temperature": 0, **fields}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
    host, port = door.url.removeprefix("http://").split(":")
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((host, int(port)))
        slow.sendall(head + body)
        until(lambda: door.metric("engineroom_echo_running") == 1)
        answer = ask(door, "slow", **fields)
        assert status(answer) == "fwd=miss"
        assert answer.text.endswith("data: [DONE]\n\n")


def test_who_is_important_does_not_wait_for_an_equal_request_that_is_not(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"low": "low", "high": {"key": "high", "priority": 5}}))
    low, high = ({"authorization": f"Bearer {key}"} for key in ("low", "high"))
    settings = {**ON, "API_KEYS_FILE": str(file), "METRICS_OPEN": "1"}
    settings |= {"MAX_CONCURRENT_REQUESTS": "1", "MAX_QUEUED_REQUESTS": "8"}
    with serving(settings) as door, ThreadPoolExecutor(3) as pool:
        running = pool.submit(ask, door, "running", low, echo_ttft_ms=5000)
        until(lambda: door.metric("engineroom_echo_running") == 1)
        before = pool.submit(ask, door, "before", low, echo_ttft_ms=5000)
        until(lambda: door.metric("engineroom_requests_waiting") == 1)
        equal = pool.submit(ask, door, "equal", low)
        until(lambda: door.metric("engineroom_requests_waiting") == 2)
        assert status(ask(door, "equal", high)) == "fwd=miss"
        assert not before.done()
        assert [answer.result().status_code for answer in (running, before, equal)] == [200, 200, 200]


def test_those_who_waited_for_one_that_fails_ask_at_once(door: Door) -> None:
    with ThreadPoolExecutor(5) as pool:
        fields = {"echo_ttft_ms": 4000, "echo_fault": "error"}
        answers = [pool.submit(ask, door, "fails", **fields) for _ in range(5)]
        for running in (1, 4):
            until(lambda running=running: door.metric("engineroom_echo_running") == running)
        assert [answer.result().status_code for answer in answers] == [500] * 5


def test_failed_answers_are_not_kept(door: Door) -> None:
    broken = {"echo_fault": "error", "echo_fault_after": 1, "stream": True}
    assert all("hit" not in status(ask(door, "broken", **broken)) for _ in range(2))


class StandinOdd(Handler):
    """Streams two tokens, and between them whatever the request's seed is the number of."""

    ODD = (
        b"null",
        b"[1]",
        b'{"choices":7}',
        b'{"choices":[null]}',
        b'{"choices":[{"index":0,"delta":"x"}]}',
        b'{"choices":[{"index":0,"delta":{"content":"\xff"}}]}',
        b'{"choices":[{"index":0,"delta":{"content":"a"},"logprobs":"x"}]}',
    )

    def do_GET(self) -> None:
        self.answer(200, {"object": "list", "data": [{"id": "m", "object": "model", "owned_by": "x"}]})

    def do_POST(self) -> None:
        token = b'{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":"a"}}]}'
        events = [token, self.ODD[self.asked()["seed"]], token, b"[DONE]"]
        data = b"".join(b"data: %b\n\n" % event for event in events)
        self.respond(200, data, {"Content-Type": "text/event-stream"})


def test_a_stream_that_cannot_be_kept_reaches_its_client_whole() -> None:
    with (
        StandinServer(StandinOdd) as server,
        serving({**ON, "ENGINE": "upstream", "UPSTREAM_URLS": f"{server.url}/v1", "METRICS": "false"}) as door,
    ):
        for number, odd in enumerate(StandinOdd.ODD):
            for _ in range(2):
                answer = ask(door, "odd", model="m", stream=True, seed=number)
                assert status(answer) == "fwd=miss"
                assert odd in answer.content
                assert answer.content.endswith(b"data: [DONE]\n\n")


def test_answers_grow_old_and_the_oldest_make_room() -> None:
    with serving({"CACHE_TTL": "1", "CACHE_MAX_MB": "0.01"}) as door:
        ask(door, "old")
        until(lambda: status(ask(door, "old")) == "fwd=miss")
        ask(door, "first")
        for number in range(20):
            ask(door, f"{number} " + "x" * 300)
        assert status(ask(door, "first")) == "fwd=miss"


def test_workers_share_it_in_redis_and_serve_on_without_it(redis: RedisServer) -> None:
    settings = {**ON, "REDIS_URL": redis.url}
    with serving(settings) as one, serving(settings) as two:
        assert [status(ask(one, "shared")), status(ask(two, "shared"))] == ["fwd=miss", "hit"]
        redis.stop()
        assert status(ask(two, "shared")) == "fwd=miss"
        assert httpx.get(f"{two.url}/health").json()["redis"] == "away"
        assert two.metric("engineroom_redis_up") == 0


def test_those_who_serve_something_else_by_the_same_name_do_not_share_it(redis: RedisServer) -> None:
    settings = {**ON, "REDIS_URL": redis.url, "SERVED_MODEL_NAME": "chat"}
    others = {"MODEL_NAME": "one"}, {"MODEL_NAME": "another"}, {"MODEL_NAME": "one", "ECHO_TTFT_MS": "1"}
    for other in others:
        with serving({**settings, **other}) as door:
            assert status(ask(door, "by name", model="chat")) == "fwd=miss"
    with serving({**settings, **others[0]}) as door:
        assert status(ask(door, "by name", model="chat")) == "hit"


def test_what_others_wrote_into_redis_is_no_answer(redis: RedisServer) -> None:
    with serving({**ON, "REDIS_URL": redis.url}) as door, Redis.from_url(redis.url) as client:
        assert status(ask(door, "foreign")) == "fwd=miss"
        for key in client.keys("engineroom:cache:*"):
            client.set(key, b"not ours")
        assert status(ask(door, "foreign")) == "fwd=miss"
        assert status(ask(door, "foreign")) == "hit"
