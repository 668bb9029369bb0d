"""Both doors as processes of their own and the vendors' own clients, over real vLLM."""

from __future__ import annotations

import anthropic
import openai
import pytest
from small_model import ANSWER, small_model

from engineroom_workers.testing import DoorExpectations
from engineroom_workers.testing.suite import *  # noqa: F403
from engineroom_workers.testing.suite import QUESTION

pytestmark = [pytest.mark.real_vllm, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def worker(over_real_vllm: dict[str, str]) -> dict[str, str]:
    return over_real_vllm


@pytest.fixture(scope="module")
def door_expectations() -> DoorExpectations:
    return small_model("vllm:num_requests_running", shared=True)


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
