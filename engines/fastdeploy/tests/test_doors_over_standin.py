"""Both doors as processes, their real clients, and the engine over the stand-in. No FastDeploy in it."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from http_door import COMMAND, Door, serving

from engineroom_workers.testing import RunningEmulator, running_emulator

from .conftest import KNOWN, standin

HELLO: Any = [{"role": "user", "content": "Hello 🦙 over there"}]
SAID = "Hello 🦙 over there"


@pytest.fixture(scope="module", params=["2.3", "2.5", "2.6"])
def environment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What the user of a door sets."""
    folder = tmp_path_factory.mktemp("door")
    with standin(request.param, folder):
        yield {**KNOWN, "MODEL": str(folder / "tiny-model"), "SERVED_MODEL_NAME": "ernie"}


@pytest.fixture(scope="module")
def door(environment: dict[str, str]) -> Iterator[Door]:
    with serving(environment) as door:
        yield door


def test_the_http_door_streams(door: Door) -> None:
    with openai.OpenAI(base_url=f"{door.url}/v1", api_key="none", max_retries=0) as client:
        stream = client.chat.completions.create(
            model="ernie", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == SAID
        assert len(chunks) > 3
        assert chunks[-1].usage is not None
        assert [model.id for model in client.models.list()] == ["ernie"]
        answer = client.chat.completions.create(model="ernie", messages=HELLO)
        assert answer.choices[0].message.content == SAID
        text = client.completions.create(model="ernie", prompt=SAID, extra_body={"top_k": 3})
        assert text.choices[0].text == SAID


def test_the_http_door_tells_errors(door: Door) -> None:
    with openai.OpenAI(base_url=f"{door.url}/v1", api_key="none", max_retries=0) as client:
        with pytest.raises(openai.BadRequestError) as refused:
            client.chat.completions.create(model="ernie", messages=HELLO, user="standin:invalid")
        assert refused.value.code == "context_length_exceeded"
        with pytest.raises(openai.APIError, match="not healthy"):
            list(client.chat.completions.create(model="ernie", messages=HELLO, user="standin:error-mid", stream=True))


async def test_the_runpod_door_streams(environment: dict[str, str]) -> None:
    async with running_emulator() as platform:
        worker = await asyncio.create_subprocess_exec(
            COMMAND, "runpod", env={**os.environ, **environment, **platform.worker_environment()}
        )
        try:
            await platform.polled()
            await _chat_over_runpod(platform)
            await _native_over_runpod(platform)
        finally:
            if worker.returncode is None:
                worker.terminate()
            await asyncio.wait_for(worker.wait(), 60)
    assert worker.returncode == 0


async def _chat_over_runpod(platform: RunningEmulator) -> None:
    async with openai.AsyncOpenAI(base_url=platform.openai_url, api_key="emulated", max_retries=0) as client:
        stream = await client.chat.completions.create(model="ernie", messages=HELLO, stream=True)
        said = [chunk.choices[0].delta.content or "" async for chunk in stream]
        assert "".join(said) == SAID
        answer = await client.chat.completions.create(model="ernie", messages=HELLO)
        assert answer.choices[0].message.content == SAID


async def _native_over_runpod(platform: RunningEmulator) -> None:
    import httpx

    native = {"messages": HELLO, "sampling_params": {"max_tokens": 2, "top_k": 3, "reasoning_max_tokens": 9}}
    async with httpx.AsyncClient(base_url=platform.endpoint_url, timeout=90) as client:
        told = (await client.post("/runsync", json={"input": native})).json()
        assert told["status"] == "COMPLETED", told
        assert told["output"][0]["choices"][0]["tokens"] == ["Hello 🦙"]
        assert told["output"][0]["usage"] == {"input": 4, "output": 2}
        wrong = {"prompt": "hi", "sampling_params": {"top_q": 3}}
        told = (await client.post("/runsync", json={"input": wrong})).json()
        assert "top_q" in str(told)


def test_a_wrong_setting_is_refused_by_name_before_anything_starts(environment: dict[str, str], tmp_path: Path) -> None:
    wrong = {**os.environ, **environment, "MAX_MODEL_LEN": "long", "INNODE_PREFILL_PORT": "", "TMPDIR": str(tmp_path)}
    told = subprocess.run([COMMAND, "serve"], env=wrong, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode != 0
    assert "MAX_MODEL_LEN" in told.stderr
    assert "expected a whole number" in told.stderr
    assert "Traceback" not in told.stderr
    assert not list(tmp_path.iterdir()), "nothing was started"
