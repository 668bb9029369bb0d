"""Tests through both doors that every engine with the small model passes: a module imports them and has two fixtures.

`worker`, as `both_doors` says, and `behind`, of module scope, too.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest
from both_doors import client, http_url, runpod, url

from engineroom_workers.emulator.testing import RunningEmulator

QUESTION: Any = [{"role": "user", "content": "What is 2+2?"}]
ANSWER = "The answer to this classic math problem is 4."
"""What the small model says to that, greedily."""

ENDLESS = {"max_tokens": 1500, "ignore_eos": True}


@dataclass(frozen=True)
class Behind:
    """What is behind the doors.

    models: the served names, the one to ask for first.
    running_metric: the gauge of running generations in the engine's metrics.
    shared: whether both doors have one and the same server, whose gauge counts the queue's jobs, too.
    """

    models: tuple[str, ...]
    running_metric: str
    shared: bool = False

    @property
    def asked(self) -> Any:
        return {"model": self.models[0], "temperature": 0, "max_tokens": 20}


async def test_chat_whole_and_streamed(client: openai.AsyncOpenAI, behind: Behind) -> None:
    answer = await client.chat.completions.create(messages=QUESTION, **behind.asked)
    assert answer.choices[0].message.content == ANSWER
    assert answer.usage is not None
    stream = await client.chat.completions.create(
        messages=QUESTION, stream=True, stream_options={"include_usage": True}, **behind.asked
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == ANSWER
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == answer.usage.completion_tokens


async def test_completions(client: openai.AsyncOpenAI, behind: Behind) -> None:
    answer = await client.completions.create(prompt="1 2 3 4 5 6 7", extra_body={"top_k": 1}, **behind.asked)
    assert answer.choices[0].text.startswith(" 8")


async def test_every_served_model_is_listed_and_retrieved(client: openai.AsyncOpenAI, behind: Behind) -> None:
    assert [model.id async for model in client.models.list()] == list(behind.models)
    for name in behind.models:
        assert (await client.models.retrieve(name)).id == name


async def test_a_prompt_that_is_too_long_is_told_as_such(http_url: str, behind: Behind) -> None:
    async with openai.AsyncOpenAI(base_url=f"{http_url}/v1", api_key="none", max_retries=0) as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.completions.create(prompt="one two " * 3000, **behind.asked)
    assert refused.value.code == "context_length_exceeded"


async def test_a_stream_that_a_client_leaves_stops_costing(http_url: str, behind: Behind) -> None:
    async with openai.AsyncOpenAI(base_url=f"{http_url}/v1", api_key="none", max_retries=0) as client:
        stream = await client.chat.completions.create(
            model=behind.models[0], messages=QUESTION, stream=True, extra_body=ENDLESS
        )
        await stream.__anext__()
        await _until_running(http_url, behind, 1)
        await stream.close()
    await _until_running(http_url, behind, 0)


async def test_a_cancelled_job_stops_costing(http_url: str, runpod: RunningEmulator, behind: Behind) -> None:
    asked = {"prompt": "Count", "sampling_params": ENDLESS, "stream": True}
    async with httpx.AsyncClient(base_url=runpod.endpoint_url, timeout=90) as client:
        job = (await client.post("/run", json={"input": asked})).json()["id"]
        await runpod.streamed(job)
        if behind.shared:
            await _until_running(http_url, behind, 1)
        await client.post(f"/cancel/{job}")
        await _until_running(http_url, behind, 0)
        short = {"input": {"prompt": "Count", "sampling_params": {"max_tokens": 3}}}
        assert (await client.post("/runsync", json=short)).json()["status"] == "COMPLETED"


async def test_a_native_job_takes_the_engine_s_sampling_parameters(runpod: RunningEmulator) -> None:
    asked = {"messages": QUESTION, "sampling_params": {"temperature": 0, "max_tokens": 20, "top_k": 1, "min_p": 0.1}}
    async with httpx.AsyncClient(base_url=runpod.endpoint_url, timeout=90) as client:
        told = (await client.post("/runsync", json={"input": asked})).json()
    assert told["status"] == "COMPLETED", told
    assert told["output"][0]["choices"][0]["tokens"] == [ANSWER]
    assert told["output"][0]["usage"]["output"] >= 8


async def test_the_engine_s_metrics_are_joined_to_the_door_s(http_url: str, behind: Behind) -> None:
    async with httpx.AsyncClient(base_url=http_url, timeout=60) as client:
        text = (await client.get("/metrics")).text
    assert behind.running_metric in text
    assert "engineroom" in text


async def _until_running(http_url: str, behind: Behind, number: int) -> None:
    """Wait for the engine's own gauge, which some set a moment after a step."""
    async with httpx.AsyncClient(base_url=http_url, timeout=60) as client:
        for _ in range(600):
            lines = (await client.get("/metrics")).text.splitlines()
            found = (
                line for line in lines if line.startswith((f"{behind.running_metric} ", f"{behind.running_metric}{{"))
            )
            if sum(float(line.split()[-1]) for line in found) == number:
                return
            await asyncio.sleep(0.05)
    pytest.fail(f"not {number} generations run")


__all__ = [
    "client",
    "http_url",
    "runpod",
    "test_a_cancelled_job_stops_costing",
    "test_a_native_job_takes_the_engine_s_sampling_parameters",
    "test_a_prompt_that_is_too_long_is_told_as_such",
    "test_a_stream_that_a_client_leaves_stops_costing",
    "test_chat_whole_and_streamed",
    "test_completions",
    "test_every_served_model_is_listed_and_retrieved",
    "test_the_engine_s_metrics_are_joined_to_the_door_s",
    "url",
]
