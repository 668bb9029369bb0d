"""Limits a minute, from outside."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from http_door import Door, serving
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from redis import Redis
from redis_server import RedisServer
from server_process import until

from engineroom_workers.http.middleware.rate_limit import LocalCounts, RateLimiter

HELLO = [{"role": "user", "content": "Hello"}]


def ask(door: Door, key: str = "", timeout: float = 60, **fields: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    body = {"messages": HELLO, **fields}
    return httpx.post(f"{door.url}/v1/chat/completions", json=body, headers=headers, timeout=timeout)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    server.stop()


def test_requests_a_minute_and_where_a_client_stands() -> None:
    with serving({"REQUESTS_PER_MINUTE": "3"}) as door:
        left = [ask(door).headers["x-ratelimit-remaining-requests"] for _ in range(3)]
        assert left == ["2", "1", "0"]
        refused = ask(door)
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert refused.headers["x-ratelimit-limit-requests"] == "3"
        assert refused.headers["x-ratelimit-reset-requests"].endswith("s")
        assert httpx.get(f"{door.url}/health").status_code == 200
        assert httpx.get(f"{door.url}/v1/models").status_code == 200  # No request to a model.
        client = openai.OpenAI(base_url=f"{door.url}/v1", api_key="none", max_retries=0)
        with client, pytest.raises(openai.RateLimitError):
            client.chat.completions.create(model="echo", messages=HELLO)


def test_tokens_a_minute_count_the_prompt_and_what_is_asked_for() -> None:
    with serving({"TOKENS_PER_MINUTE": "1000"}) as door:
        first = ask(door, max_tokens=100)
        assert first.headers["x-ratelimit-remaining-tokens"] == str(1000 - 100 - 2)
        too_large = ask(door, max_tokens=2000)
        assert too_large.status_code == 429
        assert "Request too large" in too_large.json()["error"]["message"]
        assert "retry-after" not in too_large.headers
        assert ask(door, max_tokens=950).status_code == 429
        assert ask(door, max_tokens=10).status_code == 200


def test_what_is_left_empty_does_not_come_in_free() -> None:
    empty = [{"role": "user", "content": ""}]
    with serving({"TOKENS_PER_MINUTE": "100"}) as door:
        assert ask(door, max_tokens=90).headers["x-ratelimit-remaining-tokens"] == "8"
        first = ask(door, messages=empty)
        assert first.headers["x-ratelimit-remaining-tokens"] == "7"
        until(lambda: ask(door, messages=empty).status_code == 429, 5)


async def test_a_client_that_waits_as_long_as_it_is_told_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """Minutes pass by a clock of the test's own."""
    now, chance = 1_000_000_000.0, random.Random(7)
    monkeypatch.setattr(time, "time", lambda: now)
    limiter, refused = RateLimiter(None), 0
    for _ in range(2000):
        now += chance.choice((0.1, 3, 20, 70))
        cost = chance.randint(1, 1000)
        window = await limiter.take("tokens", "alice", 1000, cost)
        assert 0 <= window.wait <= 120
        assert 0 <= window.reset <= 120
        if window.taken:
            continue
        refused += 1
        before, wait = now, window.wait
        if wait > 0.2:
            now = before + wait - 0.1
            assert not (await limiter.take("tokens", "alice", 1000, cost)).taken
        now = before + wait + 0.001
        assert (await limiter.take("tokens", "alice", 1000, cost)).taken
    assert refused > 500


async def test_after_its_reset_all_of_a_limit_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    now, chance = 1_000_000_000.0, random.Random(7)
    monkeypatch.setattr(time, "time", lambda: now)
    limiter = RateLimiter(None)
    for _ in range(500):
        now += chance.choice((0.1, 3, 20, 70))
        window = await limiter.take("tokens", "alice", 1000, chance.randint(1, 300))
        if window.reset > 0.2 and chance.random() < 0.5:
            before = now
            now = before + window.reset - 0.1
            assert not (await limiter.take("tokens", "alice", 1000, 1000)).taken
            now = before + window.reset + 0.001
            assert (await limiter.take("tokens", "alice", 1000, 1000)).taken


async def test_this_process_counts_as_the_library_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts while Redis is away, and where there is none, must not be another limit."""
    now, chance = 1_000_000_000.0, random.Random(7)
    monkeypatch.setattr(time, "time", lambda: now)
    theirs, ours, refused = SlidingWindowCounterRateLimiter(MemoryStorage()), LocalCounts(), 0
    item = RateLimitItemPerMinute(1000)
    for _ in range(2000):
        now += chance.choice((0.1, 3, 20, 70))
        cost = chance.randint(1, 600)
        budget = ours.take("tokens", "alice", 1000, cost)
        assert budget.taken == theirs.hit(item, "alice", cost=cost)
        refused += not budget.taken
        assert budget.remaining == theirs.get_window_stats(item, "alice").remaining
    assert refused > 300


def test_looking_costs_nothing() -> None:
    with serving({"REQUESTS_PER_MINUTE": "2", "MAX_CONCURRENT_REQUESTS": "1"}) as door:
        for method in ("HEAD", "OPTIONS", "GET"):
            looked = httpx.request(method, f"{door.url}/v1/chat/completions")
            assert (looked.status_code, looked.headers["allow"]) == (405, "POST")
            assert "x-ratelimit-remaining-requests" not in looked.headers
        assert ask(door).headers["x-ratelimit-remaining-requests"] == "1"


def test_each_key_has_its_own_limits(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"alice": {"key": "a", "requests_per_minute": 1}, "bob": "b"}))
    with serving({"API_KEYS_FILE": str(file), "REQUESTS_PER_MINUTE": "2"}) as door:
        assert [ask(door, "a").status_code for _ in range(2)] == [200, 429]
        assert [ask(door, "b").status_code for _ in range(3)] == [200, 200, 429]


def test_workers_share_limits_in_redis_and_serve_on_without_it(redis: RedisServer) -> None:
    settings = {"REQUESTS_PER_MINUTE": "4", "REDIS_URL": redis.url}
    with serving(settings) as one, serving(settings) as two:
        statuses = [ask(door).status_code for door in (one, two, one, two, one, two)]
        assert statuses == [200, 200, 200, 200, 429, 429]
        redis.stop()
        assert ask(one).status_code == 200
        one.says("Redis is unreachable")
        redis.start()
        until(lambda: ask(one).status_code < 500 and "Redis is back" in one.log)


def test_in_redis_too_a_client_that_waits_as_long_as_it_is_told_is_served(redis: RedisServer) -> None:
    with serving({"TOKENS_PER_MINUTE": "1000", "REDIS_URL": redis.url}) as door, Redis.from_url(redis.url) as client:
        assert ask(door, max_tokens=990).status_code == 200
        (counter,) = client.keys("*tokens*")
        client.pexpire(counter, 63_000)  # As if 57 seconds had passed: keys live for two minutes.
        refused = ask(door, max_tokens=28)
        assert refused.status_code == 429
        retry_after = int(refused.headers["retry-after"])
        assert 3 <= retry_after <= 6
        time.sleep(retry_after)
        assert ask(door, max_tokens=28).status_code == 200


def test_a_redis_that_is_not_there_yet_or_does_not_answer_holds_nobody_up(redis: RedisServer) -> None:
    redis.stop()
    settings = {"REQUESTS_PER_MINUTE": "100000", "CACHE_TTL": "60", "REDIS_URL": redis.url}
    with serving(settings) as door:
        assert [ask(door, temperature=0).status_code for _ in range(3)] == [200] * 3
        assert httpx.get(f"{door.url}/health").json()["redis"] == "away"
        redis.start()
        until(lambda: ask(door).status_code == 200 and httpx.get(f"{door.url}/health").json()["redis"] == "up")
        redis.signal(signal.SIGSTOP)
        try:
            assert [ask(door, temperature=0, seed=number).status_code for number in range(5)] == [200] * 5
            assert httpx.get(f"{door.url}/health").json()["redis"] == "away"
            assert httpx.get(f"{door.url}/ping").status_code == 200
        finally:
            redis.signal(signal.SIGCONT)
        until(lambda: ask(door).status_code == 200 and httpx.get(f"{door.url}/health").json()["redis"] == "up")


def test_more_at_once_than_there_are_connections_to_redis(redis: RedisServer) -> None:
    """A burst must not look as if Redis were away: the limits would be each worker's own for a while."""
    with serving({"REQUESTS_PER_MINUTE": "250", "REDIS_URL": redis.url}) as door:

        async def burst() -> list[int]:
            limits = httpx.Limits(max_connections=None)
            async with httpx.AsyncClient(limits=limits, timeout=60) as client:
                url = f"{door.url}/v1/chat/completions"
                answers = await asyncio.gather(*(client.post(url, json={"messages": HELLO}) for _ in range(300)))
                return [answer.status_code for answer in answers]

        statuses = Counter(asyncio.run(burst()))
        assert statuses == {200: 250, 429: 50}
        assert "Redis is unreachable" not in door.log


def test_a_wrong_redis_url_is_named() -> None:
    with serving({"REQUESTS_PER_MINUTE": "4", "REDIS_URL": "localhost"}, ready=False) as door:
        assert door.ended() == 2
        assert "REDIS_URL" in door.log
