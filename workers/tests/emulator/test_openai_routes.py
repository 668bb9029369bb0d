"""OpenAI's client against a worker of RunPod's SDK."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from engineroom_workers.emulator.testing import RunningEmulator, running_emulator
from engineroom_workers.testing import reading

CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
COMPLETION = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Grüße"}}],
}


def event(text: str) -> str:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return f"data: {json.dumps({**CHUNK, 'choices': [choice]}, ensure_ascii=False)}\n\n"


@pytest.fixture
async def chat(shared: RunningEmulator, endpoint: httpx.AsyncClient) -> AsyncIterator[Any]:
    """Sends a chat request whose metadata instruct the worker what to yield."""
    async with openai.AsyncOpenAI(base_url=shared.openai_url, api_key="any", max_retries=0) as client:

        async def create(stream: bool = False, **instructions: Any) -> Any:
            return await client.chat.completions.create(model="m", messages=[], stream=stream, metadata=instructions)

        yield create


async def test_models_has_no_input(shared: RunningEmulator, endpoint: httpx.AsyncClient) -> None:
    async with openai.AsyncOpenAI(base_url=shared.openai_url, api_key="any") as client:
        # The worker answers with the `openai_input` that it saw.
        assert [model.id async for model in client.models.list()] == ["None"]


@pytest.mark.parametrize("item", [COMPLETION, json.dumps(COMPLETION, ensure_ascii=False)], ids=["dict", "string"])
async def test_a_whole_response(chat: Any, item: Any) -> None:
    assert (await chat(items=[item])).choices[0].message.content == "Grüße"


async def test_a_stream_is_passed_on_verbatim(shared: RunningEmulator, endpoint: httpx.AsyncClient) -> None:
    items = ["data: 1\n\ndata: 2\n\n", "da", "ta: é\n\n", "data: [DONE]\n\n"]
    body = {"stream": True, "metadata": {"items": items}}
    response = await endpoint.post("/openai/v1/chat/completions", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text == "".join(items)


async def test_a_stream(chat: Any) -> None:
    stream = await chat(stream=True, items=[event("Grü"), event("ße") + "data: [DONE]\n\n"])
    assert [chunk.choices[0].delta.content async for chunk in stream] == ["Grü", "ße"]


async def test_a_stream_comes_as_it_is_produced(chat: Any, tmp_path: Path) -> None:
    stream = await chat(stream=True, items=[event("first")], hang=str(tmp_path / "mark"))
    async with reading(stream) as chunk:
        assert chunk.choices[0].delta.content == "first"


async def test_a_client_that_has_all_it_wants_cancels_nothing(shared: RunningEmulator, chat: Any) -> None:
    shared.faults.rtt_ms = 50
    async for _ in await chat(stream=True, items=[event("a"), "data: [DONE]\n\n"]):
        pass
    job = await shared.finished(list(shared.emulator.jobs)[-1])
    assert job.status == "COMPLETED"


async def test_a_client_that_hangs_up_cancels_its_job(shared: RunningEmulator, chat: Any, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    stream = await chat(stream=True, items=[event("first")], hang=str(mark))
    await stream.close()
    await shared.until(mark.exists)
    assert list(shared.emulator.jobs.values())[-1].status == "CANCELLED"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failed_job_is_a_500_without_the_reason(chat: Any, stream: bool) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        await chat(stream=stream, items=[{"error": {"message": "the reason"}}])
    assert caught.value.response.json() == {"status": 500, "title": "Internal Server Error"}


async def test_an_error_in_text_reaches_the_client(chat: Any) -> None:
    error = {"error": {"message": "engine died", "type": "server_error"}}
    stream = await chat(stream=True, items=[event("a"), f"data: {json.dumps(error)}\n\n"])
    with pytest.raises(openai.APIError, match="engine died"):
        [chunk async for chunk in stream]
    text = json.dumps({"error": {"message": "no such model", "code": 404}})
    assert (await chat(items=[text])).model_extra["error"]["message"] == "no such model"


async def test_only_path_and_body_reach_the_worker(shared: RunningEmulator, endpoint: httpx.AsyncClient) -> None:
    body = {"metadata": {"items": [{}]}}
    await endpoint.post("/openai/v1/any/thing?query=1", json=body, headers={"X-Mine": "1"})
    job = list(shared.emulator.jobs.values())[-1]
    assert json.loads(bytes(job.request.input)) == {"openai_route": "/v1/any/thing", "openai_input": body}


async def test_not_json(endpoint: httpx.AsyncClient) -> None:
    assert (await endpoint.post("/openai/v1/completions", content=b"{")).status_code == 400


async def test_a_wrong_key() -> None:
    async with (
        running_emulator(api_key="right") as platform,
        openai.AsyncOpenAI(base_url=platform.openai_url, api_key="wrong", max_retries=0) as client,
    ):
        with pytest.raises(openai.AuthenticationError):
            await client.models.list()
