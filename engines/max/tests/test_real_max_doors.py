"""Both doors as processes of their own and the vendor's own client, over real MAX."""

from __future__ import annotations

import openai
import pytest
from small_model import ANSWER, small_model

from engineroom_workers.testing import DoorExpectations
from engineroom_workers.testing.suite import *  # noqa: F403
from engineroom_workers.testing.suite import QUESTION

pytestmark = [pytest.mark.real_max, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def worker(over_real_max: dict[str, str]) -> dict[str, str]:
    return over_real_max


@pytest.fixture(scope="module")
def door_expectations() -> DoorExpectations:
    return small_model("maxserve_num_requests_running", shared=True)


async def test_several_choices_whole_and_streamed(
    client: openai.AsyncOpenAI, door_expectations: DoorExpectations
) -> None:
    answer = await client.chat.completions.create(messages=QUESTION, n=2, **door_expectations.fields)
    assert [choice.message.content for choice in answer.choices] == [ANSWER, ANSWER]
    texts = ["", ""]
    async for chunk in await client.chat.completions.create(
        messages=QUESTION, n=2, stream=True, **door_expectations.fields
    ):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == [ANSWER, ANSWER]


async def test_a_stop_string_is_not_streamed(client: openai.AsyncOpenAI, door_expectations: DoorExpectations) -> None:
    stream = await client.chat.completions.create(
        messages=QUESTION, stream=True, stop=["ic math"], **door_expectations.fields
    )
    chunks = [chunk.choices[0] async for chunk in stream if chunk.choices]
    assert "".join(choice.delta.content or "" for choice in chunks) == "The answer to this class"
    assert chunks[-1].finish_reason == "stop"


async def test_a_field_that_max_does_not_know_is_named(http_url: str, door_expectations: DoorExpectations) -> None:
    async with openai.AsyncOpenAI(base_url=f"{http_url}/v1", api_key="none", max_retries=0) as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.chat.completions.create(
                messages=QUESTION, extra_body={"unheard_of": 1}, **door_expectations.fields
            )
    assert refused.value.param == "unheard_of"
