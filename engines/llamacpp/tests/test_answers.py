"""What llama.cpp answers through its app, seen by the clients that its users have: openai's and anthropic's."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator

import anthropic
import openai
import pytest
import uvicorn
from llamacpp_made import make
from openai.types.chat import ChatCompletion

from engineroom.testing import running
from engineroom_llamacpp import LlamaCppEngine

MODEL = "SmolLM2-135M-Instruct"
QUESTION = [{"role": "user", "content": "What is 2+2?"}]
COLD = {"temperature": 0}
"""anthropic's client has no argument for it any more; the API still takes it."""

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 12}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


async def listening(engine: LlamaCppEngine) -> AsyncIterator[str]:
    """The engine's app on a real socket."""
    with socket.create_server(("127.0.0.1", 0)) as opened:
        server = uvicorn.Server(uvicorn.Config(engine.app, log_config=None, lifespan="off", ws="none"))
        import asyncio

        serving = asyncio.ensure_future(server.serve(sockets=[opened]))
        yield f"http://127.0.0.1:{opened.getsockname()[1]}"
        server.should_exit = True
        await serving


@pytest.fixture(scope="session")
async def url(engine: LlamaCppEngine) -> AsyncIterator[str]:
    async for address in listening(engine):
        yield address


@pytest.fixture(scope="session")
async def client(url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


async def test_a_whole_chat_is_what_openais_types_say(client: openai.AsyncOpenAI) -> None:
    raw = await client.chat.completions.with_raw_response.create(
        model=MODEL, messages=QUESTION, max_tokens=20, temperature=0
    )
    body = json.loads(raw.text)
    assert body["choices"][0]["message"]["refusal"] is None
    assert body["choices"][0]["logprobs"] is None
    answer = ChatCompletion.model_validate(body, strict=True)
    assert "4" in (answer.choices[0].message.content or "")


async def test_a_stream_and_its_usage(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model=MODEL,
        messages=QUESTION,
        max_tokens=6,
        n=2,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    usages = [chunk.usage for chunk in chunks if chunk.usage]
    assert len(usages) == 1, "the usage of all choices together, once"
    assert usages[0].completion_tokens == 12
    assert chunks[-1].choices == []


async def test_completions(client: openai.AsyncOpenAI) -> None:
    answer = await client.completions.create(
        model=MODEL, prompt=["One, two,", "Red, green,"], max_tokens=4, temperature=0, logprobs=2
    )
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 8
    found = answer.choices[0].logprobs
    assert found is not None
    assert found.tokens is not None
    assert len(found.tokens) == 4
    without = await client.completions.create(model=MODEL, prompt="One, two,")
    assert without.usage is not None
    assert without.usage.completion_tokens <= 16, "OpenAI's default"


async def test_other_engines_name_for_its_penalty_is_taken(client: openai.AsyncOpenAI) -> None:
    """With more of it, words come back less often than without."""

    async def words(penalty: float) -> list[str]:
        answer = await client.completions.create(
            model=MODEL,
            prompt="one two one two one two one two one two",
            temperature=0,
            max_tokens=24,
            extra_body={"repetition_penalty": penalty},
        )
        return answer.choices[0].text.split()

    assert len(set(await words(1.0))) < len(set(await words(1.8)))


async def test_responses(client: openai.AsyncOpenAI) -> None:
    answer = await client.responses.create(model=MODEL, input="What is 2+2?", max_output_tokens=20, temperature=0)
    assert "4" in answer.output_text
    stream = await client.responses.create(
        model=MODEL, input="What is 2+2?", max_output_tokens=20, temperature=0, stream=True
    )
    kinds = [event.type async for event in stream]
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"


async def test_messages_and_their_count(url: str) -> None:
    async with anthropic.AsyncAnthropic(base_url=url, api_key="none", max_retries=0) as client:
        answer = await client.messages.create(model=MODEL, messages=QUESTION, max_tokens=20, extra_body=COLD)
        assert "4" in answer.content[0].text  # type: ignore[union-attr]
        counted = await client.messages.count_tokens(model=MODEL, messages=QUESTION)
        # Anthropic counts what came from the cache apart.
        assert counted.input_tokens == answer.usage.input_tokens + (answer.usage.cache_read_input_tokens or 0)
        async with client.messages.stream(model=MODEL, messages=QUESTION, max_tokens=20, extra_body=COLD) as stream:
            assert "4" in await stream.get_final_text()
        with pytest.raises(anthropic.NotFoundError):
            await client.messages.create(model="other", messages=QUESTION, max_tokens=2)


async def test_tools_that_the_model_would_not_see_are_refused(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="no place for tools") as refused:
        await client.chat.completions.create(model=MODEL, messages=QUESTION, tools=[TOOL], max_tokens=4)
    assert refused.value.param == "tools"
    await client.chat.completions.create(model=MODEL, messages=QUESTION, tools=[TOOL], tool_choice="none", max_tokens=4)


async def test_images_are_refused_by_a_model_of_text(client: openai.AsyncOpenAI) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    with pytest.raises(openai.BadRequestError, match="does not accept image input"):
        await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": [image]}])


async def test_embeddings_are_not_served_unless_asked_for(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="Invalid URL"):
        await client.embeddings.create(model=MODEL, input="hello")


async def test_chat_and_embeddings_in_one_server() -> None:
    async with running(make(EMBEDDINGS=True, POOLING="mean", PARALLEL=2)) as engine:
        async for url in listening(engine):
            async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
                vectors = await client.embeddings.create(model=MODEL, input=["a cat", "a dog"])
                assert [len(item.embedding) for item in vectors.data] == [576, 576]
                answer = await client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=2)
                assert answer.choices[0].message.content


async def test_a_template_with_tools_gets_demanded_calls() -> None:
    from pathlib import Path

    template = Path(__file__).with_name("data") / "chatml_with_tools.jinja"
    async with running(make(CHAT_TEMPLATE_FILE=template.as_posix(), PARALLEL=2)) as engine:
        async for url in listening(engine):
            async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
                request = {
                    "model": MODEL,
                    "messages": [{"role": "user", "content": "What is the weather in Paris?"}],
                    "tools": [TOOL],
                    "tool_choice": "required",
                    "max_tokens": 60,
                    "temperature": 0,
                }
                answer = await client.chat.completions.create(**request)
                calls = answer.choices[0].message.tool_calls
                assert calls is not None
                assert answer.choices[0].finish_reason == "tool_calls"
                assert set(json.loads(calls[0].function.arguments)) == {"city"}  # type: ignore[union-attr]
                stream = await client.chat.completions.create(**request, stream=True)
                pieces = [c.choices[0].delta.tool_calls async for c in stream if c.choices]
                arguments = "".join(p[0].function.arguments or "" for p in pieces if p and p[0].function)
                assert set(json.loads(arguments)) == {"city"}
