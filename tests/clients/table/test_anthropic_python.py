"""Anthropic's client for Python."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from client_cases import BRIEF, LIMIT, MESSAGES_TOOL, QUESTION, WANTS_CITY, WANTS_WEATHER, WEATHER, City, JudgedServer

if TYPE_CHECKING:
    import anthropic

CLIENT, PACKAGE, SURFACE = "anthropic (Python)", "anthropic", "Messages"
MESSAGES: list[Any] = [{"role": "user", "content": QUESTION}]


@pytest.fixture
def client(server: JudgedServer) -> Iterator[anthropic.Anthropic]:
    import anthropic

    with anthropic.Anthropic(base_url=server.url, api_key="any", max_retries=0) as client:
        yield client


def text_of(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def test_whole(client: anthropic.Anthropic, server: JudgedServer) -> None:
    message = client.messages.create(model=server.model, max_tokens=BRIEF, messages=MESSAGES)
    server.check_text(text_of(message))


def test_streamed(client: anthropic.Anthropic, server: JudgedServer) -> None:
    events = list(client.messages.create(model=server.model, max_tokens=BRIEF, messages=MESSAGES, stream=True))
    deltas = [event.delta for event in events if event.type == "content_block_delta"]
    server.check_text("".join(delta.text for delta in deltas if delta.type == "text_delta"))
    assert (events[0].type, events[-1].type) == ("message_start", "message_stop")


def test_stream_helper(client: anthropic.Anthropic, server: JudgedServer) -> None:
    with client.messages.stream(model=server.model, max_tokens=BRIEF, messages=MESSAGES) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    server.check_text(text)
    assert text_of(message) == text


def test_parse(client: anthropic.Anthropic, server: JudgedServer) -> None:
    question: list[Any] = [{"role": "user", "content": WANTS_CITY}]
    message = client.messages.parse(model=server.model, max_tokens=LIMIT, messages=question, output_format=City)
    assert isinstance(message.parsed_output, City)


def test_count_tokens(client: anthropic.Anthropic, server: JudgedServer) -> None:
    assert client.messages.count_tokens(model=server.model, messages=MESSAGES).input_tokens > 0


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_tools(client: anthropic.Anthropic, server: JudgedServer, streamed: bool) -> None:
    question: Any = {"role": "user", "content": WANTS_WEATHER}
    asked: dict[str, Any] = {"model": server.model, "max_tokens": LIMIT, "tools": [MESSAGES_TOOL]}
    if streamed:
        with client.messages.stream(messages=[question], tool_choice={"type": "any"}, **asked) as stream:
            message: Any = stream.get_final_message()
    else:
        message = client.messages.create(messages=[question], tool_choice={"type": "any"}, **asked)
    assert message.stop_reason == "tool_use"
    use = next(block for block in message.content if block.type == "tool_use")
    server.check_arguments(use.input)
    result: Any = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": WEATHER}]}
    turns = [question, {"role": "assistant", "content": message.content}, result]
    server.check_text(text_of(client.messages.create(messages=turns, tool_choice={"type": "none"}, **asked)), WEATHER)
