"""Both doors as processes of their own and OpenAI's client, over real OpenVINO GenAI."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import Any

import httpx
import openai
import pytest
from http_door import serving
from small_model import small_model

from engineroom_workers.testing import DoorExpectations, RunningEmulator
from engineroom_workers.testing.suite import *  # noqa: F403
from engineroom_workers.testing.suite import QUESTION

pytestmark = [pytest.mark.real_openvino, pytest.mark.timeout(180)]

ASKED: Any = {"model": "smol", "temperature": 0, "max_tokens": 20}


@pytest.fixture(scope="module")
def worker(real: dict[str, str]) -> dict[str, str]:
    return real


@pytest.fixture(scope="module")
def door_expectations() -> DoorExpectations:
    # OpenVINO quantises the weights anew, and the model says something else.
    return replace(small_model("engineroom_openvino_running"), answer=None)


async def test_what_the_engine_refuses_is_the_client_s_error(http_url: str) -> None:
    tool: Any = {"type": "function", "function": {"name": "f"}}
    async with openai.AsyncOpenAI(base_url=f"{http_url}/v1", api_key="none", max_retries=0) as client:
        with pytest.raises(openai.BadRequestError, match="no place for tools"):
            await client.chat.completions.create(messages=QUESTION, tools=[tool], **ASKED)
        with pytest.raises(openai.NotFoundError):
            await client.embeddings.create(model="smol", input="text")


async def test_a_native_job_takes_its_sampling_parameters(runpod: RunningEmulator) -> None:
    asked = {"prompt": "1 2 3 4 5 6 7", "sampling_params": {"temperature": 0, "max_tokens": 6, "min_p": 0.1}}
    async with httpx.AsyncClient(base_url=runpod.endpoint_url, timeout=60) as client:
        told = (await client.post("/runsync", json={"input": asked})).json()
    assert told["status"] == "COMPLETED", told
    assert told["output"][0]["choices"][0]["tokens"][0].startswith(" 8 9")


def test_a_door_that_is_stopped_while_it_loads_ends_at_once(real: dict[str, str]) -> None:
    with serving(real, ready=False) as door:
        door.until(204, seconds=90)
        door.signal(signal.SIGTERM)
        assert door.ended() == 0
    assert "Traceback" not in door.log
