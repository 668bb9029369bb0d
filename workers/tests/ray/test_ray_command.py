"""`engineroom ray` with real Ray: one replica with the echo engine, asked by OpenAI's own client."""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from ray_serve import left_of, processes_below, start_ray

from engineroom_workers.testing import Door, DoorExpectations, reading, serving
from engineroom_workers.testing.suite import (
    QUESTION,
    anyio_backend,
    client,
    test_a_prompt_that_is_too_long_is_told_as_such,
    test_a_stream_that_a_client_leaves_stops_costing,
    test_chat_whole_and_streamed,
    test_completions,
    test_every_served_model_is_listed_and_retrieved,
    test_the_engine_s_metrics_are_joined_to_the_door_s,
)

pytest.importorskip("ray", reason="Ray has an environment of its own: make test-ray")
pytestmark = [pytest.mark.real_ray, pytest.mark.timeout(120)]

__all__ = [
    "anyio_backend",
    "client",
    "test_a_prompt_that_is_too_long_is_told_as_such",
    "test_a_stream_that_a_client_leaves_stops_costing",
    "test_chat_whole_and_streamed",
    "test_completions",
    "test_every_served_model_is_listed_and_retrieved",
    "test_the_engine_s_metrics_are_joined_to_the_door_s",
]

SETTINGS = {"ENGINE": "echo", "ECHO_TOKENS_PER_S": "200", "ECHO_MAX_MODEL_LEN": "4096", "DRAIN_TIMEOUT": "3"}
ENDLESS: dict[str, Any] = {"max_tokens": 3000, "extra_body": {"ignore_eos": True}}


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with serving(SETTINGS, start=start_ray, seconds=90) as door:
        yield door


@pytest.fixture(scope="module")
def http_url(door: Door) -> str:
    return door.url


@pytest.fixture(scope="module")
def url(http_url: str) -> str:
    return f"{http_url}/v1"


@pytest.fixture(scope="module")
def door_expectations() -> DoorExpectations:
    return DoorExpectations(
        models=("echo",),
        running_metric="engineroom_echo_running",
        max_model_len=4096,
        answer="What is 2+2?",
        sampling_params={"top_k": 5},
    )


@pytest.mark.anyio
async def test_a_stream_arrives_token_by_token(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="echo",
        messages=[{"role": "user", "content": "one two three four five six seven eight nine ten"}],
        stream=True,
        extra_body={"echo_tokens_per_s": 20},
    )
    arrivals = [time.monotonic() async for chunk in stream if chunk.choices and chunk.choices[0].delta.content]
    gaps = [later - earlier for earlier, later in itertools.pairwise(arrivals)]
    assert len(arrivals) >= 10
    assert sum(gap > 0.02 for gap in gaps) >= 7, f"Serve gathers no tokens: {gaps}"


@pytest.mark.anyio
async def test_no_cancelled_request_goes_on(client: openai.AsyncOpenAI, door: Door) -> None:
    async def leave(number: int) -> None:
        stream = await client.chat.completions.create(model="echo", messages=QUESTION, stream=True, **ENDLESS)
        if number % 2:
            async with reading(stream):
                return
        await stream.close()

    for _ in range(5):
        await asyncio.gather(*(leave(number) for number in range(20)))
    for _ in range(100):
        running = await asyncio.to_thread(door.metric, "engineroom_echo_running")
        if not running:
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"{running:g} of 100 requests go on although their clients have left")


@pytest.mark.anyio
async def test_errors_are_the_door_s_own(http_url: str) -> None:
    async with httpx.AsyncClient(base_url=http_url, timeout=30) as client:
        unknown = await client.post("/v1/chat/completions", json={"model": "no", "messages": QUESTION})
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
        assert len(unknown.headers.get_list("x-request-id")) == 1
        broken = await client.post("/v1/chat/completions", content=b"{", headers={"content-type": "application/json"})
        assert (broken.status_code, broken.json()["error"]["code"]) == (400, "invalid_json")
        drained = await client.post("/drain")
        assert (drained.status_code, drained.json()["error"]["code"]) == (404, "serve_drains")
        for probe in ("/livez", "/readyz", "/startupz", "/-/healthz"):
            assert (await client.get(probe)).status_code == 200, probe


@pytest.mark.anyio
async def test_at_its_end_requests_finish_or_are_told(door: Door, client: openai.AsyncOpenAI) -> None:
    """The last test of this cluster: SIGTERM while a short stream and an endless one run."""
    asked: dict[str, Any] = {"model": "echo", "messages": QUESTION, "stream": True}
    short = await client.chat.completions.create(
        **asked, max_tokens=100, extra_body={"ignore_eos": True, "echo_tokens_per_s": 70}
    )
    endless = await client.chat.completions.create(**asked, **ENDLESS)
    await short.__anext__()
    await endless.__anext__()
    below = processes_below(door.process.pid)
    door.signal(signal.SIGTERM)
    chunks = [chunk async for chunk in short]
    assert chunks[-1].choices[0].finish_reason == "length", "what ends within DRAIN_TIMEOUT ends as ever"
    with pytest.raises(openai.APIError):
        [chunk async for chunk in endless]
    assert await asyncio.to_thread(door.ended, 60) == 0, door.log
    assert not await asyncio.to_thread(left_of, below, 15), "nothing of Ray is left"
