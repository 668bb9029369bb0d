"""Both doors as processes of their own and the vendors' own clients, over real vLLM."""

from __future__ import annotations

import asyncio

import anthropic
import httpx
import openai
import pytest
from small_model import ANSWER, small_model

from engineroom_workers.emulator.testing import RunningEmulator
from engineroom_workers.testing import DoorExpectations
from engineroom_workers.testing.suite import *  # noqa: F403
from engineroom_workers.testing.suite import QUESTION

pytestmark = [pytest.mark.real_vllm, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def worker(over_real_vllm: dict[str, str]) -> dict[str, str]:
    return over_real_vllm


@pytest.fixture(scope="module")
def door_expectations() -> DoorExpectations:
    return small_model("vllm:num_requests_running")


async def tokens_generated(http_url: str) -> float:
    """What vLLM has generated so far, for whomever: both doors have one and the same here, while the gauges of requests
    are each door's own."""
    async with httpx.AsyncClient(timeout=60) as client:
        lines = (await client.get(f"{http_url}/metrics")).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("vllm:generation_tokens_total"))


async def test_a_cancelled_job_generates_nothing_more(
    http_url: str, runpod: RunningEmulator, door_expectations: DoorExpectations
) -> None:
    asked = {"prompt": "Count", "sampling_params": dict(door_expectations.endless), "stream": True}
    async with httpx.AsyncClient(base_url=runpod.endpoint_url, timeout=90) as client:
        job = (await client.post("/run", json={"input": asked})).json()["id"]
        await runpod.streamed(job)
        before = await tokens_generated(http_url)
        for _ in range(600):
            if await tokens_generated(http_url) > before:
                break
            await asyncio.sleep(0.05)
        await client.post(f"/cancel/{job}")
    generated = before
    for _ in range(60):
        earlier = generated
        generated = await tokens_generated(http_url)
        if earlier == generated:
            break
        await asyncio.sleep(1)
    assert before < generated < before + door_expectations.endless["max_tokens"] / 2


async def test_responses(client: openai.AsyncOpenAI) -> None:
    answer = await client.responses.create(model="smol", input=QUESTION[0]["content"], temperature=0)
    assert answer.output_text == ANSWER


async def test_messages(url: str) -> None:
    base, asked = url.removesuffix("/v1"), {"model": "smol", "max_tokens": 20, "extra_body": {"temperature": 0}}
    async with anthropic.AsyncAnthropic(base_url=base, api_key="none", max_retries=0, timeout=90) as client:
        answer = await client.messages.create(messages=QUESTION, **asked)
        assert [block.text for block in answer.content if block.type == "text"] == [ANSWER]
        async with client.messages.stream(messages=QUESTION, **asked) as stream:
            assert "".join([text async for text in stream.text_stream]) == ANSWER
        counted = await client.messages.count_tokens(model="smol", messages=QUESTION)
        assert counted.input_tokens == answer.usage.input_tokens
