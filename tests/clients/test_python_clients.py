"""OpenAI's and Anthropic's clients for Python over the HTTP door: their helpers are stricter than their types."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import openai
import pytest
from pydantic import BaseModel

if TYPE_CHECKING:
    import anthropic

TEXT = "Привет, one two"
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION = {"type": "function", "name": "get_weather", "description": "The weather.", "parameters": WEATHER}
TOOL = {"name": "get_weather", "description": "The weather.", "input_schema": WEATHER}


class City(BaseModel):
    name: str
    large: bool


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def claude(url: str) -> Iterator[anthropic.Anthropic]:
    import anthropic

    with anthropic.Anthropic(base_url=url, api_key="any", max_retries=0) as client:
        yield client


def test_a_response(client: openai.OpenAI) -> None:
    response = client.responses.create(model="echo", input=TEXT, metadata={"a": "b"})
    assert response.output_text == TEXT
    assert response.status == "completed"
    assert response.metadata == {"a": "b"}


def test_a_streamed_response(client: openai.OpenAI) -> None:
    with client.responses.stream(model="echo", input=TEXT) as stream:
        kinds = [event.type for event in stream]
        response = stream.get_final_response()
    assert response.output_text == TEXT
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"


def test_a_response_that_is_cut_off(client: openai.OpenAI) -> None:
    response = client.responses.create(model="echo", input=TEXT, max_output_tokens=2)
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    events = list(client.responses.create(model="echo", input=TEXT, max_output_tokens=2, stream=True))
    assert events[-1].type == "response.incomplete"


def test_a_parsed_response(client: openai.OpenAI) -> None:
    response = client.responses.parse(model="echo", input="A city, as JSON.", text_format=City)
    assert isinstance(response.output_parsed, City)
    with client.responses.stream(model="echo", input="A city, as JSON.", text_format=City) as stream:
        for _ in stream:
            pass
        assert stream.get_final_response().output_parsed == response.output_parsed


def test_a_function_is_called_and_its_output_taken_back(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "echo", "tools": [FUNCTION]}
    first = client.responses.create(input="get_weather now", **asked)
    call = first.output[0]
    assert call.type == "function_call"
    assert set(json.loads(call.arguments)) == {"city"}
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    second = client.responses.create(input=[output], previous_response_id=first.id, **asked)
    assert second.output_text == "sunny"
    listed = client.responses.input_items.list(second.id)
    assert [item.type for item in listed] == ["function_call_output", "function_call", "message"]
    stream = client.responses.create(input="get_weather now", stream=True, **asked)
    done = [event for event in stream if event.type == "response.function_call_arguments.done"]
    assert set(json.loads(done[0].arguments)) == {"city"}


def test_a_response_is_kept_and_deleted(client: openai.OpenAI) -> None:
    response = client.responses.create(model="echo", input=TEXT)
    assert client.responses.retrieve(response.id).output_text == TEXT
    client.responses.delete(response.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="echo", input=TEXT, previous_response_id=response.id)
    assert refused.value.param == "previous_response_id"


def test_what_is_not_served_names_the_field(client: openai.OpenAI) -> None:
    for fields, param in (
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
    ):
        with pytest.raises(openai.BadRequestError) as refused:
            client.responses.create(model="echo", input=TEXT, **fields)  # type: ignore[call-overload]
        assert refused.value.param == param


def test_a_failure_amid_a_stream_is_raised(client: openai.OpenAI) -> None:
    fault = {"echo_fault": "error", "echo_fault_after": 3}
    with pytest.raises(openai.APIError, match="asked for it"):
        list(client.responses.create(model="echo", input=TEXT, stream=True, extra_body=fault))


def test_a_message(claude: anthropic.Anthropic) -> None:
    message = claude.messages.create(model="echo", max_tokens=50, messages=[{"role": "user", "content": TEXT}])
    assert message.content[0].type == "text"
    assert message.content[0].text == TEXT
    assert message.stop_reason == "end_turn"
    assert message._request_id
    counted = claude.messages.count_tokens(model="echo", messages=[{"role": "user", "content": TEXT}])
    assert counted.input_tokens == message.usage.input_tokens


def test_a_streamed_message(claude: anthropic.Anthropic) -> None:
    asked: dict[str, Any] = {"model": "echo", "max_tokens": 50, "messages": [{"role": "user", "content": TEXT}]}
    with claude.messages.stream(**asked) as stream:
        assert "".join(stream.text_stream) == TEXT
        assert stream.get_final_message().usage.output_tokens > 0
    with claude.messages.stream(stop_sequences=["one"], **asked) as stream:
        message = stream.get_final_message()
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "one")
    assert message.content[0].text == "Привет, "  # type: ignore[union-attr]


def test_a_tool_is_used_and_its_result_taken_back(claude: anthropic.Anthropic) -> None:
    question: Any = {"role": "user", "content": "get_weather now"}
    asked: dict[str, Any] = {"model": "echo", "max_tokens": 50, "tools": [TOOL]}
    with claude.messages.stream(messages=[question], **asked) as stream:
        message = stream.get_final_message()
    assert message.stop_reason == "tool_use"
    use = message.content[0]
    assert use.type == "tool_use"
    assert set(use.input) == {"city"}
    result: Any = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "sunny"}]}
    turns = [question, {"role": "assistant", "content": message.content}, result]
    answer = claude.messages.create(messages=turns, **asked)
    assert answer.content[0].text == "sunny"  # type: ignore[union-attr]


def test_a_parsed_message(claude: anthropic.Anthropic) -> None:
    question: Any = {"role": "user", "content": "A city, as JSON."}
    message = claude.messages.parse(model="echo", max_tokens=100, messages=[question], output_format=City)
    assert isinstance(message.parsed_output, City)


def test_errors_are_anthropic_s(claude: anthropic.Anthropic) -> None:
    import anthropic

    with pytest.raises(anthropic.NotFoundError):
        claude.messages.create(model="other", max_tokens=5, messages=[{"role": "user", "content": TEXT}])
    with pytest.raises(anthropic.BadRequestError, match="max_tokens") as refused:
        claude.messages.create(model="echo", max_tokens=0, messages=[{"role": "user", "content": TEXT}])
    assert refused.value.request_id
    fault = {"echo_fault": "error", "echo_fault_after": 3}
    asked: dict[str, Any] = {"model": "echo", "max_tokens": 50, "messages": [{"role": "user", "content": TEXT}]}
    with pytest.raises(anthropic.APIStatusError, match="asked for it"):
        list(claude.messages.create(stream=True, extra_body=fault, **asked))
