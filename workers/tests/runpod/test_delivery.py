"""What is sent to the platform arrives although its answers fail, and a client sees each part of a stream once."""

from __future__ import annotations

import asyncio
import email.utils
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from client_helper import each_once

from engineroom.asgi import Receive, Scope, Send, send_body
from engineroom.openai.upstream_errors import retry_after
from engineroom_workers.emulator.jobs import Job
from engineroom_workers.emulator.testing import RunningEmulator
from engineroom_workers.runpod import platform as door
from engineroom_workers.runpod.handler import Delivery, JobResponse
from engineroom_workers.runpod.jobs import deliver
from engineroom_workers.runpod.platform import DeliveryError, Platform
from engineroom_workers.runpod.sdk import SDK

from .conftest import StartWorker, chat, openai_client, submit
from .test_faults import served

TEXT = "the quick brown fox jumps over the lazy dog and back again"


@asynccontextmanager
async def connected(running: RunningEmulator, patience: float = 300) -> AsyncIterator[Platform]:
    """The worker's side of a platform, in this process."""
    unused: Any = None
    sdk = SDK(
        version="test",
        worker_id="w",
        get_job=unused,
        get_stop_signals=unused,
        too_many_requests=RuntimeError,
        jobs_in_progress=unused,
        stream_url=f"{running.endpoint_url}/job-stream/w/$ID?gpu=x",
        done_url=f"{running.endpoint_url}/job-done/w/$ID?gpu=x",
        ping_url="",
        ping_interval=1,
        headers={},
    )
    platform = Platform(sdk, patience=patience)
    try:
        yield platform
    finally:
        await platform.close()


def taken(running: RunningEmulator) -> Job:
    """A job that the worker `w` has."""
    job = submit(running, {})
    running.emulator.take(running.emulator.workers.get_or_add("w"), 1)
    return job


def response(*items: Any, stream: bool = True) -> JobResponse:
    async def generated() -> AsyncGenerator[Any, None]:
        for item in items:
            yield item

    return JobResponse(stream, generated())


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(door, "_LONGEST_PAUSE_S", 0.05)


async def test_a_result_waits_until_the_platform_is_back(platform: RunningEmulator, quick: None) -> None:
    platform.faults.fail_done = 1
    job = taken(platform)
    async with connected(platform) as connection:
        delivering = asyncio.ensure_future(deliver(job.id, response("a", stream=False), connection))
        await platform.until(lambda: job.posts["refused"] > 10)
        assert not delivering.done()
        platform.faults.fail_done = 0
        await delivering
    assert (job.status, bytes(job.output)) == ("COMPLETED", b'["a"]')


async def test_an_item_that_cannot_be_delivered_ends_its_job(
    platform: RunningEmulator, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    """A stream with a hole would look whole. What was given up is said once."""
    platform.faults.fail_stream = 1
    job = taken(platform)
    async with connected(platform, patience=0.2) as connection:
        with caplog.at_level(logging.ERROR):
            await deliver(job.id, response("a", "b"), connection)
    assert job.status == "FAILED"
    assert msgspec.json.decode(msgspec.json.decode(job.error))["error"]["code"] == "delivery_failed"
    (record,) = (record for record in caplog.records if record.levelname == "ERROR")
    assert "could not be delivered" in record.message
    assert "attempts" in record.message


async def test_a_result_that_was_given_up_is_logged_once(
    platform: RunningEmulator, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    platform.faults.fail_done = 1
    job = taken(platform)
    async with connected(platform, patience=0.2) as connection:
        with caplog.at_level(logging.ERROR):
            await deliver(job.id, response("a", stream=False), connection)
    (record,) = (record for record in caplog.records if record.levelname == "ERROR")
    assert f"job {job.id}" in record.message
    assert "was given up" in record.message


async def test_results_that_wait_have_bounded_memory(
    platform: RunningEmulator, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What finds no room is told as an error, which needs none."""
    monkeypatch.setattr(door, "_MOST_WAITING", 2000)
    monkeypatch.setattr(door, "_SMALL", 500)
    platform.faults.fail_done = 1
    jobs = [taken(platform) for _ in range(3)]
    async with connected(platform) as connection:
        results = [deliver(job.id, response("x" * 900, stream=False), connection) for job in jobs]
        delivering = [asyncio.ensure_future(result) for result in results]
        await platform.until(lambda: all(job.posts["refused"] > 3 for job in jobs))
        platform.faults.fail_done = 0
        await asyncio.gather(*delivering)
    assert sorted(job.status for job in jobs) == ["COMPLETED", "COMPLETED", "FAILED"]
    (failed,) = (job for job in jobs if job.status == "FAILED")
    assert b"MB of results wait" in bytes(failed.error)


async def test_the_last_call_cuts_a_pause_short_and_tries_once_more() -> None:
    asked: list[str] = []

    async def away(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope["path"])
        await send_body(send, 503, b"", b"text/plain", [(b"retry-after", b"10000")])

    async with served(away) as platform, connected(platform) as connection:
        posting = asyncio.ensure_future(connection.done("1", b"{}"))
        await platform.until(lambda: len(asked) == 1)
        await asyncio.sleep(0.05)
        assert not posting.done()
        connection.last_call(0.05)
        with pytest.raises(DeliveryError, match="answered with 503"):
            await asyncio.wait_for(posting, 60)
        assert len(asked) == 3


async def test_a_result_is_not_kept_back_for_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engineroom_workers.runpod.platform._LONGEST_WAIT_S", 0.05)
    statuses = [503, 503, 200]

    async def back_soon(scope: Scope, receive: Receive, send: Send) -> None:
        await send_body(send, statuses.pop(0), b"", b"text/plain", [(b"retry-after", b"10000")])

    async with served(back_soon) as platform, connected(platform) as connection:
        await asyncio.wait_for(connection.done("1", b"{}"), 60)
    assert not statuses


def test_retry_after_is_seconds_or_a_date() -> None:
    date = email.utils.formatdate(time.time() + 10_000, usegmt=True)
    assert retry_after({"retry-after": "10000"}) == 10_000
    assert 9_000 < retry_after({"retry-after": date}) < 10_001


@pytest.mark.parametrize("value", ["", "soon", "-1", "Thu, 99 Foo", email.utils.formatdate(0, usegmt=True)])
def test_a_retry_after_that_says_nothing(value: str) -> None:
    assert retry_after({"retry-after": value}) == 0


async def test_a_client_sees_each_part_once(platform: RunningEmulator, start_worker: StartWorker) -> None:
    """The platform takes every third item and loses its answer, so that it is sent again."""
    start_worker(platform)
    await platform.polled()
    platform.faults.lose_answers = 0.34
    async with openai_client(platform) as client:
        stream = await client.chat.completions.create(
            model="echo",
            messages=[{"role": "user", "content": TEXT}],
            stream=True,
            extra_body={"echo_tokens_per_s": 50},
        )
        chunks = [chunk async for chunk in stream]
    assert "".join(text_of_chunk(chunk) for chunk in chunks) != TEXT
    assert answers(chunks) == [TEXT]
    assert chunks[-1].model_extra["delivery"]["repeated"] > 0


async def test_a_client_tells_a_second_attempt_from_the_first(
    platform: RunningEmulator, start_worker: StartWorker
) -> None:
    """The first worker even goes on after the platform gave its job to a second, as where its pings were late."""
    for _ in range(2):
        start_worker(platform)
    await platform.polled(2)
    job = submit(platform, chat(TEXT, stream=True, echo_tokens_per_s=20))
    await platform.streamed(job.id, 3)
    platform.emulator.workers.by_id[str(job.worker)].stopping = True
    platform.emulator.redeliver(job, "test")
    await platform.finished(job.id)
    first, second = answers(objects_of(job))
    assert TEXT in (first, second)
    assert TEXT.startswith(first)
    assert TEXT.startswith(second)


async def test_native_items_say_where_they_stand(platform: RunningEmulator, start_worker: StartWorker) -> None:
    start_worker(platform)
    await platform.polled()
    job = submit(platform, {"prompt": TEXT, "stream": True, "sampling_params": {"echo_tokens_per_s": 50}})
    await platform.finished(job.id)
    marks = [msgspec.json.decode(chunk)["delivery"] for chunk in job.chunks]
    assert [mark["position"] for mark in marks] == list(range(len(marks)))
    assert len({mark["attempt"] for mark in marks}) == 1


def test_every_kind_of_event_is_marked() -> None:
    delivery = Delivery()
    marked = delivery.mark_events(
        b'event: message_start\ndata: {"a":"data: {1}"}\n\ndata:{"b":1}\r\n\r\n'
        b": comment\n\ndata: {}\n\ndata: [DONE]\n\n"
    )
    lines = [line for line in marked.replace(b"\r", b"").split(b"\n") if line]
    first, second = (msgspec.json.decode(line[6:]) for line in (lines[1], lines[2]))
    assert (first["delivery"]["position"], first["a"]) == (0, "data: {1}")
    assert (second["delivery"]["position"], second["b"]) == (1, 1)
    assert lines[3:] == [b": comment", b"data: {}", b"data: [DONE]"]


def answers(chunks: Iterable[Any]) -> list[str]:
    """The text of each attempt, as a client gets it with the helper."""
    texts: dict[str, str] = {}
    for attempt, chunk in each_once()(chunks):
        texts[attempt] = texts.get(attempt, "") + text_of_chunk(chunk)
    return list(texts.values())


def text_of_chunk(chunk: Any) -> str:
    """The text of a chunk of OpenAI's client, or of an event."""
    event = chunk if isinstance(chunk, dict) else chunk.model_dump()
    return "".join(choice["delta"].get("content") or "" for choice in event["choices"])


def objects_of(job: Job) -> list[Any]:
    """The objects of a job's events, as `/stream` gives them."""
    events = "".join(msgspec.json.decode(chunk) for chunk in job.chunks)
    return [msgspec.json.decode(line[6:]) for line in events.splitlines() if line.startswith("data: {")]
