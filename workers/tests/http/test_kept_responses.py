"""Responses that clients come back to: each key its own, and over all workers where there is a Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from http_door import Door, serving
from redis import Redis
from redis_server import RedisServer

from engineroom.errors import APIError
from engineroom_workers.http.middleware.kept_responses import RedisStorage
from engineroom_workers.http.redis import RedisLink

KEYS = {"API_KEYS": "ann:ann-secret,bob:bob-secret"}


def client(door: Door, key: str = "ann") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{door.url}/v1", api_key=f"{key}-secret", max_retries=0)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def workers(redis: RedisServer) -> Iterator[tuple[Door, Door]]:
    """Two workers that share a Redis."""
    env = {**KEYS, "REDIS_URL": redis.url, "RESPONSES_TTL": "600"}
    with serving(env) as first, serving(env) as second:
        yield first, second


@pytest.fixture(scope="module")
def alone() -> Iterator[Door]:
    """A worker that has only its memory."""
    with serving(KEYS) as door:
        yield door


def assert_only_its_owners(door: Door) -> None:
    ann, bob = client(door), client(door, "bob")
    made = ann.responses.create(model="echo", input="ann's secret")
    item = made.output[0].id
    assert item is not None
    for refused in (
        lambda: bob.responses.retrieve(made.id),
        lambda: bob.responses.delete(made.id),
        lambda: bob.responses.input_items.list(made.id),
        lambda: bob.responses.create(model="echo", input=[{"type": "item_reference", "id": item}]),
    ):
        with pytest.raises(openai.NotFoundError):
            refused()
    with pytest.raises(openai.BadRequestError) as error:
        bob.responses.create(model="echo", input="and?", previous_response_id=made.id)
    assert (error.value.param, error.value.code) == ("previous_response_id", "previous_response_not_found")
    assert ann.responses.retrieve(made.id).output_text == made.output_text


def test_no_key_reads_anothers_responses(alone: Door, workers: tuple[Door, Door]) -> None:
    assert_only_its_owners(alone)
    assert_only_its_owners(workers[0])


def test_workers_go_on_from_each_others_responses(workers: tuple[Door, Door], redis: RedisServer) -> None:
    first, second = (client(door) for door in workers)
    made = first.responses.create(model="echo", input="one")
    more = second.responses.create(model="echo", input="two", previous_response_id=made.id)
    item = more.output[0].id
    assert item is not None
    last = first.responses.create(
        model="echo", input=[{"type": "item_reference", "id": item}, {"role": "user", "content": "three"}]
    )
    assert last.output_text
    assert second.responses.retrieve(made.id).output_text == made.output_text
    listed = [entry.id for entry in second.responses.input_items.list(more.id, order="asc")]
    assert len(listed) == 3
    assert listed[1] == made.output[0].id
    second.responses.delete(made.id)
    for again in (first, second):
        with pytest.raises(openai.NotFoundError):
            again.responses.retrieve(made.id)
        with pytest.raises(openai.BadRequestError):
            again.responses.create(model="echo", input="and?", previous_response_id=more.id)


def test_a_stream_is_kept_before_its_client_hears_of_its_end(workers: tuple[Door, Door]) -> None:
    first, second = (client(door) for door in workers)
    for number in range(20):
        stream = first.responses.create(model="echo", input=f"turn {number}", stream=True)
        made = next(event for event in stream if event.type == "response.completed").response
        assert second.responses.retrieve(made.id).output_text == made.output_text


def test_redis_forgets_them(workers: tuple[Door, Door], redis: RedisServer) -> None:
    with Redis.from_url(redis.url) as server:
        before = set(server.keys("engineroom:responses:*"))
        made = client(workers[0]).responses.create(model="echo", input="short-lived")
        new = set(server.keys("engineroom:responses:*")) - before
        assert len(new) == 3  # The response, the item of its input and that of its output.
        assert all(0 < server.ttl(key) <= 600 for key in new)
        for key in new:
            server.expire(key, 5)
        client(workers[1]).responses.retrieve(made.id)
        assert sorted(server.ttl(key) > 5 for key in new) == [False, False, True]  # Used, and so kept on.
        assert not [key for key in new if b"short-lived" in key]


def test_store_false_keeps_nothing(workers: tuple[Door, Door], redis: RedisServer) -> None:
    with Redis.from_url(redis.url) as server:
        before = server.dbsize()
        made = client(workers[0]).responses.create(model="echo", input="forget me", store=False)
        assert made.model_extra is not None
        assert made.to_dict()["store"] is False
        assert server.dbsize() == before
    with pytest.raises(openai.NotFoundError):
        client(workers[0]).responses.retrieve(made.id)


def test_with_a_ttl_of_zero_nothing_goes_to_redis(redis: RedisServer) -> None:
    with Redis.from_url(redis.url) as server, serving({"REDIS_URL": redis.url, "RESPONSES_TTL": "0"}) as door:
        before = server.dbsize()
        made = client(door).responses.create(model="echo", input="hello")
        assert server.dbsize() == before
        assert client(door).responses.retrieve(made.id).id == made.id


def test_redis_may_be_away(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path)
    try:
        with serving({**KEYS, "REDIS_URL": redis.url}) as door:
            ann = client(door)
            before = ann.responses.create(model="echo", input="before")
            redis.stop()
            for attempt in (
                lambda: ann.responses.retrieve(before.id),
                lambda: ann.responses.delete(before.id),
                lambda: ann.responses.create(model="echo", input="and?", previous_response_id=before.id),
            ):
                with pytest.raises(openai.InternalServerError) as away:
                    attempt()
                assert (away.value.status_code, away.value.code) == (503, "responses_unavailable")
                assert int(away.value.response.headers["retry-after"]) > 0
            # What is new is answered, and kept here meanwhile.
            made = ann.responses.create(model="echo", input="meanwhile")
            more = ann.responses.create(model="echo", input="and?", previous_response_id=made.id)
            assert ann.responses.retrieve(more.id).output_text == more.output_text
            with pytest.raises(openai.InternalServerError):
                ann.responses.delete(made.id)  # It may be in Redis, too, for all that is known.
            assert httpx.get(f"{door.url}/health").json()["redis"] == "away"
    finally:
        redis.stop()


async def test_what_was_kept_meanwhile_is_there_when_redis_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engineroom_workers.http.redis._REST_S", 0.01)
    redis = RedisServer(tmp_path)
    link = RedisLink(redis.url)
    try:
        storage = RedisStorage(link, 60)
        await storage.put({"kept": b"in Redis"})
        redis.stop()
        await storage.put({"new": b"in memory"})
        assert await storage.get("new") == b"in memory"
        for ask in (storage.get("kept"), storage.drop("kept"), storage.drop("new")):
            with pytest.raises(APIError) as away:
                await ask
            assert away.value.status == 503
        redis.start()
        await asyncio.sleep(0.02)
        assert await storage.get("new") == b"in memory"
        assert await storage.get("kept") is None  # A Redis that keeps nothing on its disk.
        await storage.drop("new")
        assert await storage.get("new") is None
    finally:
        await link.close()
        redis.stop()
