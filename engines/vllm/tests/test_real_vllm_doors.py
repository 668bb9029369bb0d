"""Both doors as processes of their own and the vendors' own clients, over real vLLM."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import httpx
import openai
import pytest
from both_doors import client, http_url, runpod, url

from engineroom_vllm.engine import VLLMEngine
from engineroom_workers.emulator.testing import RunningEmulator

pytestmark = [pytest.mark.real_vllm, pytest.mark.timeout(600)]

__all__ = ["client", "http_url", "runpod", "url"]

QUESTION: Any = [{"role": "user", "content": "What is the capital of France?"}]
ANSWER = "The capital of France is Paris."
ASKED: Any = {"model": "smol", "temperature": 0, "max_tokens": 20}


@pytest.fixture(scope="module")
def worker(over_real_vllm: dict[str, str]) -> dict[str, str]:
    return over_real_vllm


async def test_chat_whole_and_streamed(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(messages=QUESTION, **ASKED)
    assert answer.choices[0].message.content == ANSWER
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 8
    stream = await client.chat.completions.create(
        messages=QUESTION, stream=True, stream_options={"include_usage": True}, **ASKED
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == ANSWER
    assert chunks[-1].usage is not None


async def test_completions(client: openai.AsyncOpenAI) -> None:
    answer = await client.completions.create(prompt="1 2 3 4 5 6 7", extra_body={"top_k": 1}, **ASKED)
    assert answer.choices[0].text.startswith(" 8")


async def test_responses(client: openai.AsyncOpenAI) -> None:
    answer = await client.responses.create(model="smol", input="What is the capital of France?", temperature=0)
    assert answer.output_text == ANSWER


async def test_models(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["smol", "alias"]


async def test_messages(url: str) -> None:
    base, asked = url.removesuffix("/v1"), {"model": "smol", "max_tokens": 20, "extra_body": {"temperature": 0}}
    async with anthropic.AsyncAnthropic(base_url=base, api_key="none", max_retries=0, timeout=60) as client:
        answer = await client.messages.create(messages=QUESTION, **asked)
        assert [block.text for block in answer.content if block.type == "text"] == [ANSWER]
        async with client.messages.stream(messages=QUESTION, **asked) as stream:
            assert "".join([text async for text in stream.text_stream]) == ANSWER
        counted = await client.messages.count_tokens(model="smol", messages=QUESTION)
        assert counted.input_tokens == answer.usage.input_tokens


async def test_a_prompt_that_is_too_long_is_told_as_such(http_url: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{http_url}/v1", api_key="none", max_retries=0) as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.completions.create(prompt="one two " * 3000, **ASKED)
    assert refused.value.code == "context_length_exceeded"


async def test_a_stream_that_a_client_leaves_stops_costing(vllm: VLLMEngine, http_url: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{http_url}/v1", api_key="none", max_retries=0) as client:
        stream = await client.chat.completions.create(
            model="smol", messages=QUESTION, stream=True, max_tokens=1500, extra_body={"ignore_eos": True}
        )
        await stream.__anext__()
        await until_running(vllm, 1)
        await stream.close()
    await until_running(vllm, 0)


async def test_a_cancelled_job_stops_costing(vllm: VLLMEngine, runpod: RunningEmulator) -> None:
    asked = {"prompt": "Count", "sampling_params": {"max_tokens": 1500, "ignore_eos": True}, "stream": True}
    async with httpx.AsyncClient(base_url=runpod.endpoint_url, timeout=60) as client:
        job = (await client.post("/run", json={"input": asked})).json()["id"]
        await runpod.streamed(job)
        await until_running(vllm, 1)
        await client.post(f"/cancel/{job}")
    await until_running(vllm, 0)


async def test_a_native_job_takes_vllm_s_sampling_parameters(runpod: RunningEmulator) -> None:
    asked = {"messages": QUESTION, "sampling_params": {"temperature": 0, "max_tokens": 20, "top_k": 1, "min_p": 0.1}}
    async with httpx.AsyncClient(base_url=runpod.endpoint_url, timeout=60) as client:
        told = (await client.post("/runsync", json={"input": asked})).json()
        assert told["status"] == "COMPLETED", told
        assert told["output"][0]["choices"][0]["tokens"] == [ANSWER]
        assert told["output"][0]["usage"]["output"] == 8


async def test_metrics_of_vllm_are_joined_to_the_door_s(http_url: str) -> None:
    async with httpx.AsyncClient(base_url=http_url) as client:
        text = (await client.get("/metrics")).text
    assert "vllm:num_requests_running" in text
    assert "engineroom" in text


async def running(engine: VLLMEngine) -> float:
    lines = (await engine.metrics()).splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("vllm:num_requests_running{"))


async def until_running(engine: VLLMEngine, number: int) -> None:
    """Wait for vLLM's own gauge, which it sets a moment after each of its steps."""
    for _ in range(1200):
        if await running(engine) == number:
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"{await running(engine)} generations run, not {number}")
