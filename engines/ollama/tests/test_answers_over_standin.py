"""Answers that fail, break off or end early, and clients that leave. No Ollama in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from real_engine import opened

from engineroom.asgi import Receive, Scope, Send, request
from engineroom.openai.body import Request, with_request
from engineroom.server import join_engine
from engineroom.settings import Environment
from engineroom.testing import running
from engineroom_ollama import OllamaEngine

from .conftest import CHAT, COMPLETIONS, ask, settings, standin


@pytest.fixture(scope="module")
async def engine(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OllamaEngine]:
    variables = settings(tmp_path_factory.mktemp("ollama"))
    async with running(opened(OllamaEngine, Environment.of(variables))) as engine:
        yield engine


def saying(text: str, **more: object) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


@pytest.mark.parametrize("n", [1, 2])
async def test_an_error_amid_an_answer_is_told(engine: OllamaEngine, n: int) -> None:
    status, answer = await ask(engine, **saying("it fails-amid its answer", n=n))
    assert status == 500
    assert "model runner has unexpectedly stopped" in answer["error"]["message"]
    _, events = await ask(engine, stream=True, **saying("it fails-amid its answer", n=n))
    assert "model runner has unexpectedly stopped" in events
    assert "[DONE]" not in events


async def test_a_connection_that_breaks_is_no_whole_answer(engine: OllamaEngine) -> None:
    status, answer = await ask(engine, **saying("it breaks-amid its answer"))
    assert (status, answer["error"]["code"]) == (502, "engine_error")
    _, events = await ask(engine, stream=True, **saying("it breaks-amid its answer"))
    assert "engine_error" in events
    assert "[DONE]" not in events


async def test_an_answer_that_ollama_breaks_off_has_been_cut(engine: OllamaEngine) -> None:
    """Where a model repeats one token Ollama ends its answer, and says nothing of it."""
    _, answer = await ask(engine, **saying("it repeats-itself"))
    assert (answer["choices"][0]["message"]["content"], answer["choices"][0]["finish_reason"]) == (
        "it repeats-itself",
        "length",
    )
    assert answer["usage"] == {"prompt_tokens": 4, "completion_tokens": 4, "total_tokens": 8}


async def test_usage_where_it_is_asked_for(engine: OllamaEngine) -> None:
    _, events = await ask(engine, COMPLETIONS, prompt="one two", stream=True)
    assert "usage" not in events
    asked = {"prompt": "one two", "stream": True, "stream_options": {"include_usage": True}}
    _, events = await ask(engine, COMPLETIONS, **asked)
    assert '"usage":{"prompt_tokens":2,"completion_tokens":16,"total_tokens":18}' in events


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_ends_its_generation(engine: OllamaEngine, stream: bool) -> None:
    body = msgspec.json.encode(saying("word " * 50, max_tokens=50_000, stream=stream))

    async def leave() -> None:
        async with request(engine.app, "POST", CHAT, body=body) as answer:
            await answer.read()

    leaving = asyncio.ensure_future(leave())
    await generations(engine, 1)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    await generations(engine, 0)


async def generations(engine: OllamaEngine, number: int) -> None:
    """Wait until so many run."""
    for _ in range(3000):
        if (await standin(engine))["running"] == number:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"there were never {number} generations")


async def test_a_message_tells_which_stop_sequence_ended_it(engine: OllamaEngine) -> None:
    body = saying("one two three four five six", max_tokens=5000, stop_sequences=["never", " five"])
    status, answer = await ask(engine, "/v1/messages", **body)
    assert status == 200, answer
    assert (answer["stop_reason"], answer["stop_sequence"]) == ("stop_sequence", " five")
    assert answer["content"][0]["text"] == "one two three four"
    assert answer["usage"]["input_tokens"] == 6
    assert 4 <= answer["usage"]["output_tokens"] <= 6
    assert (await standin(engine))["running"] == 0, "the generation ended there"


async def test_no_request_has_the_model_loaded_anew(engine: OllamaEngine) -> None:
    """Ollama does so for a request with other options of loading, the watchdog's included."""
    loaded = (await standin(engine))["loads"]
    assert (await ask(engine))[0] == (await ask(engine, COMPLETIONS))[0] == 200
    path, json = engine.canary(CHAT, engine.prepare(CHAT, saying("1", model=engine.models[0], max_tokens=1)))
    assert (await engine.upstream.post(path, json))[0] == 200
    assert (await standin(engine))["loads"] == loaded == 1


async def test_a_model_may_be_asked_for_with_its_tag_or_without(engine: OllamaEngine) -> None:
    assert engine.knows_model("llama3.2:1b")
    assert not engine.knows_model("llama3.2")
    assert (await ask(engine, model="qwen3:0.6b"))[0] == 404


async def test_what_ollama_cannot_generate_at_once_waits(anyio_backend: str, tmp_path: Path) -> None:
    variables = settings(tmp_path, OLLAMA_NUM_PARALLEL="1")
    body = msgspec.json.encode(saying("word", max_tokens=50_000))

    async def ask_for_long(engine: OllamaEngine) -> None:
        async with request(engine.app, "POST", CHAT, body=body) as answer:
            await answer.read()

    async with running(opened(OllamaEngine, Environment.of(variables))) as engine:
        asking = [asyncio.ensure_future(ask_for_long(engine)) for _ in range(3)]
        await generations(engine, 3)
        load = (await engine.scrape()).load
        assert (load.running, load.waiting) == (1, 2)
        for each in asking:
            each.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


async def test_another_process_may_send_requests_to_the_same_ollama(engine: OllamaEngine) -> None:
    """With what it has learnt at its start: the model's name in Ollama, above all."""
    description = engine.share()
    assert description is not None
    joined = join_engine(description)
    try:

        async def checked(scope: Scope, receive: Receive, send: Send) -> None:
            json = saying("one two", model=engine.models[0])
            await joined.app(with_request(scope, Request(None, json)), receive, send)

        async with request(checked, "POST", CHAT, body=b"{}") as answer:
            assert answer.status == 200
            assert b"one two" in await answer.read()
    finally:
        await joined.close()
