"""Both doors as processes of their own and the vendor's own client, over real MAX."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import openai
import pytest
from both_doors import client, http_url, runpod, url

from engineroom_max.engine import MAXEngine
from engineroom_workers.emulator.testing import RunningEmulator

pytestmark = [pytest.mark.real_max, pytest.mark.timeout(1200)]

__all__ = ["client", "http_url", "runpod", "url"]

QUESTION: Any = [{"role": "user", "content": "What is 2+2?"}]
ANSWER = "The answer to this classic math problem is 4."
ASKED: Any = {"model": "smol", "temperature": 0, "max_tokens": 20}


@pytest.fixture(scope="module")
def worker(over_real_max: dict[str, str]) -> dict[str, str]:
    return over_real_max


async def test_chat_whole_and_streamed(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(messages=QUESTION, **ASKED)
    assert answer.choices[0].message.content == ANSWER
    assert answer.usage is not None
    stream = await client.chat.completions.create(
        messages=QUESTION, stream=True, stream_options={"include_usage": True}, **ASKED
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == ANSWER
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == answer.usage.completion_tokens


async def test_several_choices_whole_and_streamed(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(messages=QUESTION, n=2, **ASKED)
    assert [choice.message.content for choice in answer.choices] == [ANSWER, ANSWER]
    texts = ["", ""]
    async for chunk in await client.chat.completions.create(messages=QUESTION, n=2, stream=True, **ASKED):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == [ANSWER, ANSWER]


async def test_a_stop_string_is_not_streamed(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(messages=QUESTION, stream=True, stop=["ic math"], **ASKED)
    chunks = [chunk.choices[0] async for chunk in stream if chunk.choices]
    assert "".join(choice.delta.content or "" for choice in chunks) == "The answer to this class"
    assert chunks[-1].finish_reason == "stop"


async def test_completions(client: openai.AsyncOpenAI) -> None:
    answer = await client.completions.create(prompt="1 2 3 4 5 6 7", extra_body={"top_k": 1}, **ASKED)
    assert answer.choices[0].text.startswith(" 8")


async def test_models(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["smol"]


async def test_errors_keep_their_details(http_url: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{http_url}/v1", api_key="none", max_retries=0) as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.completions.create(prompt="one two " * 3000, **ASKED)
        assert refused.value.code == "context_length_exceeded"
        with pytest.raises(openai.BadRequestError) as refused:
            await client.chat.completions.create(messages=QUESTION, extra_body={"unheard_of": 1}, **ASKED)
        assert refused.value.param == "unheard_of"


async def test_a_stream_that_a_client_leaves_stops_costing(real_max: MAXEngine, http_url: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{http_url}/v1", api_key="none", max_retries=0) as client:
        stream = await client.chat.completions.create(
            model="smol", messages=QUESTION, stream=True, max_tokens=1500, n=2, extra_body={"ignore_eos": True}
        )
        await stream.__anext__()
        await until_running(real_max, 2)
        await stream.close()
    await until_running(real_max, 0)


async def test_a_cancelled_job_stops_costing(real_max: MAXEngine, runpod: RunningEmulator) -> None:
    asked = {"prompt": "Count", "sampling_params": {"max_tokens": 1500, "ignore_eos": True}, "stream": True}
    async with httpx.AsyncClient(base_url=runpod.endpoint_url, timeout=60) as client:
        job = (await client.post("/run", json={"input": asked})).json()["id"]
        await runpod.streamed(job)
        await until_running(real_max, 1)
        await client.post(f"/cancel/{job}")
    await until_running(real_max, 0)


async def test_a_native_job_takes_max_s_sampling_parameters(runpod: RunningEmulator) -> None:
    asked = {"messages": QUESTION, "sampling_params": {"temperature": 0, "max_tokens": 20, "top_k": 1, "min_p": 0.1}}
    async with httpx.AsyncClient(base_url=runpod.endpoint_url, timeout=60) as client:
        told = (await client.post("/runsync", json={"input": asked})).json()
        assert told["status"] == "COMPLETED", told
        assert told["output"][0]["choices"][0]["tokens"] == [ANSWER]


async def test_metrics_of_max_are_joined_to_the_door_s(http_url: str) -> None:
    async with httpx.AsyncClient(base_url=http_url) as client:
        text = (await client.get("/metrics")).text
    assert "maxserve_num_requests_running" in text
    assert "engineroom" in text


async def until_running(engine: MAXEngine, number: int) -> None:
    """Wait for MAX's own gauge, which it sets a moment after each of its steps."""
    for _ in range(1200):
        lines = (await engine.metrics()).splitlines()
        if (
            sum(float(line.split()[-1]) for line in lines if line.startswith("maxserve_num_requests_running "))
            == number
        ):
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"not {number} generations run")
