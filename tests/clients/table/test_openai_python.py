"""OpenAI's client for Python."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from client_cases import (
    BRIEF,
    CHAT_TOOL,
    LIMIT,
    QUESTION,
    RESPONSES_TOOL,
    SHORT_ANSWER,
    WANTS_CITY,
    WANTS_WEATHER,
    WEATHER,
    City,
    JudgedServer,
)

CLIENT, PACKAGE = "openai (Python)", "openai"
MESSAGES: list[Any] = [{"role": "user", "content": QUESTION}]


@pytest.fixture
def client(server: JudgedServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.openai_url, api_key="any", max_retries=0) as client:
        yield client


class TestChat:
    SURFACE = "chat"

    def test_whole(self, client: openai.OpenAI, server: JudgedServer) -> None:
        answer = client.chat.completions.create(model=server.model, messages=MESSAGES, max_tokens=BRIEF)
        server.check_text(answer.choices[0].message.content)
        assert answer.usage is not None

    def test_streamed(self, client: openai.OpenAI, server: JudgedServer) -> None:
        stream = client.chat.completions.create(
            model=server.model,
            messages=MESSAGES,
            max_tokens=BRIEF,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(stream)
        server.check_text("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices))
        assert chunks[-1].usage is not None

    def test_stream_helper(self, client: openai.OpenAI, server: JudgedServer) -> None:
        # It takes an answer that is cut off for a failure.
        turns: list[Any] = [{"role": "user", "content": SHORT_ANSWER}]
        with client.chat.completions.stream(
            model=server.model, messages=turns, max_tokens=200, temperature=0
        ) as stream:
            for _ in stream:
                pass
            server.check_text(stream.get_final_completion().choices[0].message.content, SHORT_ANSWER)

    def test_parse(self, client: openai.OpenAI, server: JudgedServer) -> None:
        question: list[Any] = [{"role": "user", "content": WANTS_CITY}]
        answer = client.chat.completions.parse(
            model=server.model, messages=question, max_tokens=LIMIT, response_format=City
        )
        assert isinstance(answer.choices[0].message.parsed, City)

    @pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
    def test_tools(self, client: openai.OpenAI, server: JudgedServer, streamed: bool) -> None:
        turns: list[Any] = [{"role": "user", "content": WANTS_WEATHER}]
        asked: dict[str, Any] = {"model": server.model, "max_tokens": LIMIT, "tools": [CHAT_TOOL]}
        if streamed:
            with client.chat.completions.stream(messages=turns, tool_choice="required", **asked) as stream:
                message = stream.get_final_completion().choices[0].message
        else:
            first = client.chat.completions.create(messages=turns, tool_choice="required", **asked)
            message = first.choices[0].message
        assert message.tool_calls
        call = message.tool_calls[0]
        server.check_arguments(call.function.arguments)
        turns += [
            message.model_dump(include={"role", "content", "tool_calls"}),
            {"role": "tool", "tool_call_id": call.id, "content": WEATHER},
        ]
        second = client.chat.completions.create(messages=turns, tool_choice="none", **asked)
        server.check_text(second.choices[0].message.content, WEATHER)


class TestResponses:
    SURFACE = "Responses"

    def test_whole(self, client: openai.OpenAI, server: JudgedServer) -> None:
        response = client.responses.create(model=server.model, input=QUESTION, max_output_tokens=BRIEF)
        server.check_text(response.output_text)

    def test_streamed(self, client: openai.OpenAI, server: JudgedServer) -> None:
        stream = client.responses.create(model=server.model, input=QUESTION, max_output_tokens=BRIEF, stream=True)
        server.check_text("".join(event.delta for event in stream if event.type == "response.output_text.delta"))

    def test_stream_helper(self, client: openai.OpenAI, server: JudgedServer) -> None:
        # It has no final response where the server says `response.incomplete`, as OpenAI's does of one that is cut off.
        asked: dict[str, Any] = {"model": server.model, "input": SHORT_ANSWER, "max_output_tokens": 200}
        with client.responses.stream(temperature=0, **asked) as stream:
            for _ in stream:
                pass
            server.check_text(stream.get_final_response().output_text, SHORT_ANSWER)

    def test_parse(self, client: openai.OpenAI, server: JudgedServer) -> None:
        asked: dict[str, Any] = {"model": server.model, "input": WANTS_CITY, "max_output_tokens": LIMIT}
        assert isinstance(client.responses.parse(text_format=City, **asked).output_parsed, City)

    def test_parse_streamed(self, client: openai.OpenAI, server: JudgedServer) -> None:
        asked: dict[str, Any] = {"model": server.model, "input": WANTS_CITY, "max_output_tokens": LIMIT}
        with client.responses.stream(text_format=City, **asked) as stream:
            assert isinstance(stream.get_final_response().output_parsed, City)

    @pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
    def test_tools(self, client: openai.OpenAI, server: JudgedServer, streamed: bool) -> None:
        asked: dict[str, Any] = {"model": server.model, "max_output_tokens": LIMIT, "tools": [RESPONSES_TOOL]}
        if streamed:
            with client.responses.stream(input=WANTS_WEATHER, tool_choice="required", **asked) as stream:
                first: Any = stream.get_final_response()
        else:
            first = client.responses.create(input=WANTS_WEATHER, tool_choice="required", **asked)
        call = next(item for item in first.output if item.type == "function_call")
        server.check_arguments(call.arguments)
        result: list[Any] = [{"type": "function_call_output", "call_id": call.call_id, "output": WEATHER}]
        second = client.responses.create(input=result, previous_response_id=first.id, tool_choice="none", **asked)
        server.check_text(second.output_text, WEATHER)
