"""Both doors as processes of their own and OpenAI's client, over real transformers."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from http_door import serving
from small_model import small_model

from engineroom_workers.testing import DoorExpectations, RunningEmulator
from engineroom_workers.testing.suite import *  # noqa: F403
from engineroom_workers.testing.suite import QUESTION

pytestmark = [pytest.mark.real_transformers, pytest.mark.timeout(180)]

ASKED: Any = {"model": "smol", "temperature": 0, "max_tokens": 20}


@pytest.fixture(scope="module")
def worker(real: dict[str, str]) -> dict[str, str]:
    return real


@pytest.fixture(scope="module")
def door_expectations() -> DoorExpectations:
    return small_model("engineroom_transformers_running")


async def test_what_the_engine_refuses_is_the_client_s_error(http_url: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{http_url}/v1", api_key="none", max_retries=0) as client:
        with pytest.raises(openai.BadRequestError, match="mirostat"):
            await client.chat.completions.create(messages=QUESTION, extra_body={"mirostat": 2}, **ASKED)
        with pytest.raises(openai.NotFoundError):
            await client.embeddings.create(model="smol", input="text")


async def test_a_chat_is_streamed_in_pieces(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(messages=QUESTION, stream=True, **ASKED)
    assert len([chunk async for chunk in stream]) > 5


async def test_completions_take_the_engine_s_own_parameters(client: openai.AsyncOpenAI) -> None:
    answer = await client.completions.create(
        prompt="1 2 3 4 5 6 7", extra_body={"top_k": 1}, **{**ASKED, "temperature": 2}
    )
    assert answer.choices[0].text.startswith(" 8 9")


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


@pytest.mark.parametrize("broken", ["architecture", "weights", "code"])
def test_a_model_that_cannot_be_loaded_ends_the_door_with_the_reason(
    real: dict[str, str], tmp_path: Path, broken: str
) -> None:
    told = spoil(Path(real["MODEL_NAME"]), tmp_path, broken)
    with serving({**real, "MODEL_NAME": str(tmp_path)}, ready=False) as door:
        assert door.ended(90) != 0
    assert told in door.log
    assert "Traceback" not in door.log


def spoil(model: Path, folder: Path, how: str) -> str:
    """Make `folder` a model that is broken; what must be told of it."""
    for file in model.iterdir():
        (folder / file.name).symlink_to(file)
    name = "model.safetensors" if how == "weights" else "config.json"
    path = folder / name
    text = path.read_bytes()[:100_000] if how == "weights" else path.read_bytes()
    path.unlink()
    if how == "weights":
        path.write_bytes(text)
        return "is cut short or damaged"
    if how == "architecture":
        path.write_bytes(text.replace(b'"llama"', b'"no_such_thing"').replace(b"LlamaForCausalLM", b"NoSuchThing"))
        return "which the libraries installed here do not know"
    path.write_bytes(
        text.replace(b'"llama"', b'"mine"').replace(
            b"{", b'{"auto_map": {"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"},', 1
        )
    )
    (folder / "mine.py").write_text("raise SystemExit\n")
    return "TRUST_REMOTE_CODE"
