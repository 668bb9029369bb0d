"""Messages made of a chat: what the chat is asked, and what the client is told."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import TypeAdapter

from engineroom.asgi import request
from engineroom.errors import APIError
from engineroom.openai.routes import COUNT_TOKENS, MESSAGES

from .chat_double import ChatDouble, ElsewhereDouble, chunk, said, usage

EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
HELLO = [{"role": "user", "content": "Hello"}]
TOOL = {"name": "f", "input_schema": {"type": "object"}}
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}


async def asked(**body: Any) -> dict[str, Any]:
    """The chat request that a request becomes."""
    double = ChatDouble()
    status, response = await double.ask(MESSAGES, **{"max_tokens": 2000, "messages": HELLO, **body})
    assert status == 200, response
    chat = double.asked[-1]
    assert chat.pop("model") == "m"
    return chat


async def refused(**body: Any) -> str:
    status, response = await ChatDouble().ask(MESSAGES, **{"max_tokens": 2000, "messages": HELLO, **body})
    assert status == 400, response
    assert response["type"] == "error"
    assert response["error"]["type"] == "invalid_request_error"
    return str(response["error"]["message"])


async def test_a_plain_request() -> None:
    assert await asked(system="Be kind.", temperature=0.5, top_p=0.9, top_k=5, metadata={"user_id": "u"}) == {
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}],
        "max_tokens": 2000,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "chat_template_kwargs": {"enable_thinking": False},
    }


async def test_turns_of_every_kind_become_messages() -> None:
    turns: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "text", "text": "See:", "cache_control": {"type": "ephemeral"}}, PNG]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "s"},
                {"type": "redacted_thinking", "data": "d"},
                {"type": "text", "text": "I call."},
                {"type": "tool_use", "id": "t0", "name": "f", "input": {"a": 1}},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t0", "content": [{"type": "text", "text": "0"}, PNG]},
                {"type": "tool_result", "tool_use_id": "t1", "content": "no", "is_error": True},
                {"type": "text", "text": "And?"},
            ],
        },
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Go on."},
    ]
    chat = await asked(messages=turns, system=[{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}])
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    assert chat["messages"] == [
        {"role": "system", "content": "One.\n\nTwo."},
        {"role": "user", "content": [{"type": "text", "text": "See:"}, image]},
        {
            "role": "assistant",
            "content": "I call.",
            "reasoning_content": "Hm.",
            "tool_calls": [
                {"id": "t0", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
                {"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "t0", "content": "0"},
        {"role": "tool", "tool_call_id": "t1", "content": "Error: no"},
        {"role": "user", "content": [image, {"type": "text", "text": "And?"}]},
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Go on."},
    ]


async def test_tools_choices_formats_thinking_and_the_last_turn() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    for choice, wanted in (("any", "required"), ("none", "none"), ("auto", None)):
        chat = await asked(tools=[TOOL], tool_choice={"type": choice, "disable_parallel_tool_use": True})
        assert (chat["tools"], chat.get("tool_choice"), chat["parallel_tool_calls"]) == ([tool], wanted, False)
    chat = await asked(tools=[TOOL], tool_choice={"type": "tool", "name": "f"})
    assert chat["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    schema = {"type": "object"}
    chat = await asked(output_config={"format": {"type": "json_schema", "schema": schema}, "effort": "max"})
    assert chat["response_format"]["json_schema"]["schema"] == schema
    assert chat["reasoning_effort"] == "max"
    for thinking in ({"type": "enabled", "budget_tokens": 1024}, {"type": "adaptive"}):
        chat = await asked(thinking=thinking)
        assert chat["chat_template_kwargs"] == {"enable_thinking": True}
    chat = await asked(messages=[*HELLO, {"role": "assistant", "content": "I am"}])
    assert (chat["continue_final_message"], chat["add_generation_prompt"]) == (True, False)
    keeping = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}
    assert "context_management" not in await asked(context_management=keeping)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"messages": [{"role": "user", "content": [{"type": "nonsense"}]}]}, "messages.0.content.0.type"),
        ({"messages": [{"role": "user", "content": [{"type": "document"}]}]}, "messages.0.content.0"),
        ({"max_completion_tokens": 3}, "max_tokens"),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}]},
            "messages.0.content.0",
        ),
        (
            {
                "messages": [
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]}
                ]
            },
            "messages.0",
        ),
        (
            {
                "messages": [
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
                    {"role": "user", "content": "No."},
                ]
            },
            "messages.0",
        ),
        ({"n": 2}, "n"),
        ({"stop": "x"}, "stop_sequences"),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools.0.type"),
        ({"tools": [{"name": "f"}]}, "tools.0.input_schema"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "g"}}, "'g'"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "thinking.budget_tokens"),
        ({"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}, "context_management.edits.0"),
        ({"context_management": 5}, "context_management"),
        ({"container": "c"}, "container"),
        ({"speed": "fast"}, "speed"),
        ({"stop_sequences": [""]}, "stop_sequences.0"),
    ],
)
async def test_what_is_wrong_is_named_in_the_client_s_own_words(body: dict[str, Any], field: str) -> None:
    assert field in await refused(**body)


async def test_what_an_engine_has_not_is_refused() -> None:
    class Bare(ChatDouble):
        sampling_params = frozenset()

    for body, field in (
        ({"top_k": 3}, "top_k"),
        ({"messages": [*HELLO, {"role": "assistant", "content": "I am"}]}, "'messages'"),
    ):
        status, response = await Bare().ask(MESSAGES, **{"max_tokens": 5, "messages": HELLO, **body})
        assert status == 400
        assert field in response["error"]["message"]


@pytest.mark.parametrize(
    ("chat", "field"),
    [
        ("messages.1.content.0", "messages.0.content.0"),
        ("tools.0.function.parameters.x", "tools.0.input_schema.x"),
        ("stop", "stop_sequences"),
        ("response_format", "output_format"),
    ],
)
async def test_the_chat_s_errors_name_the_client_s_fields(chat: str, field: str) -> None:
    double = ChatDouble([APIError(f"Invalid '{chat}': no.", param=chat)])
    status, body = await double.ask(MESSAGES, max_tokens=5, system="s", messages=HELLO, tools=[TOOL])
    assert (status, body["error"]["message"]) == (400, f"Invalid '{field}': no.")


ANSWERS: dict[str, tuple[list[dict[str, Any]], str, list[str]]] = {
    "text": (said(), "end_turn", ["text"]),
    "no role": ([chunk({"content": "ж"}), chunk({}, "stop"), usage()], "end_turn", ["text"]),
    "nothing at all": ([chunk({}, "stop")], "end_turn", ["text"]),
    "cut off": ([chunk({"content": "a"}), chunk({}, "length")], "max_tokens", ["text"]),
    "refused": ([chunk({"refusal": "No."}), chunk({}, "content_filter")], "refusal", ["text"]),
    "thought, text, calls": (
        [
            chunk({"reasoning": "Hm"}),
            chunk({"reasoning": "m."}),
            chunk({"content": "I call.\n"}),
            chunk({"tool_calls": [{"index": 0, "id": "c0", "function": {"name": "f", "arguments": ""}}]}),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a": 1}'}}]}),
            chunk({"tool_calls": [{"index": 1, "id": "c1", "function": {"name": "f", "arguments": ""}}]}),
            chunk({}, "stop"),
            usage(),
        ],
        "tool_use",
        ["thinking", "text", "tool_use", "tool_use"],
    ),
}


@pytest.mark.parametrize("answer", ANSWERS)
async def test_every_event_is_what_anthropic_s_types_say(answer: str) -> None:
    chunks, reason, kinds = ANSWERS[answer]
    body = {"max_tokens": 2000, "messages": HELLO, "thinking": {"type": "adaptive"}}
    _, events = await ChatDouble(chunks).ask(MESSAGES, **body, stream=True)
    for event in events:
        if event["type"] != "ping":
            EVENT.validate_python(event, strict=True)
    assert events[-2]["delta"]["stop_reason"] == reason
    assert [event["content_block"]["type"] for event in events if event["type"] == "content_block_start"] == kinds
    _, whole = await ChatDouble(chunks).ask(MESSAGES, **body)
    message = Message.model_validate(whole, strict=True)
    assert [block.type for block in message.content] == kinds
    assert message.stop_reason == reason
    assert message.id.startswith("msg_")


async def test_thinking_that_was_not_asked_for_is_left_out() -> None:
    chunks, _, kinds = ANSWERS["thought, text, calls"]
    for thinking in (None, {"type": "disabled"}, {"type": "adaptive", "display": "omitted"}):
        _, whole = await ChatDouble(chunks).ask(MESSAGES, max_tokens=2000, messages=HELLO, thinking=thinking)
        assert [block["type"] for block in whole["content"]] == kinds[1:]


async def test_what_came_from_a_cache_is_counted_apart() -> None:
    _, whole = await ChatDouble(said()).ask(MESSAGES, max_tokens=20, messages=HELLO)
    counts = ("input_tokens", "cache_read_input_tokens", "output_tokens")
    assert [whole["usage"][name] for name in counts] == [5, 2, 3]
    _, counted = await ChatDouble(said()).ask(COUNT_TOKENS, messages=HELLO)
    assert counted == {"input_tokens": 7}


async def test_which_stop_sequence_ended_it() -> None:
    class Including(ChatDouble):
        sampling_params = frozenset({"include_stop_str_in_output"})

    body = {"max_tokens": 20, "messages": HELLO, "stop_sequences": ["END", "x"]}
    including = Including(said("Hello.END"))
    telling = ChatDouble([chunk({"content": "Hello."}), chunk({}, "stop", stop_reason="END")])
    for double, field in ((including, "include_stop_str_in_output"), (telling, "return_stop_reason")):
        for stream in (False, True):
            _, answer = await double.ask(MESSAGES, **body, stream=stream)
            ending = answer[-2]["delta"] if stream else answer
            assert (ending["stop_reason"], ending["stop_sequence"]) == ("stop_sequence", "END")
            assert double.asked[-1][field] is True
            if not stream:
                assert answer["content"][0]["text"] == "Hello."


async def test_a_failure_amid_a_stream_is_an_event() -> None:
    answer = [chunk({"content": "Hel"}), APIError("The engine is gone.", status=503, code="engine_dead")]
    _, events = await ChatDouble(answer).ask(MESSAGES, max_tokens=20, messages=HELLO, stream=True)
    assert events[-1] == {"type": "error", "error": {"type": "overloaded_error", "message": "The engine is gone."}}
    status, body = await ChatDouble(answer).ask(MESSAGES, max_tokens=20, messages=HELLO)
    assert (status, body["error"]["type"]) == (503, "overloaded_error")


async def test_every_response_has_a_request_id() -> None:
    for body, status in (({"max_tokens": 3}, 200), ({"max_tokens": 0}, 400), ({"max_tokens": 3, "stream": True}, 200)):
        json = {"model": "m", "messages": HELLO, **body}
        async with request(ChatDouble().app, "POST", MESSAGES, json=json, headers={"x-request-id": "r1"}) as response:
            assert (response.status, response.headers["request-id"]) == (status, "r1")


async def test_a_server_elsewhere_is_asked_for_the_route_first() -> None:
    has = ElsewhereDouble([MESSAGES])
    assert await has.ask(MESSAGES, max_tokens=3, messages=HELLO) == (200, {"its": "own"})
    _, body = await ElsewhereDouble([]).ask(MESSAGES, max_tokens=3, messages=HELLO)
    assert body["content"][0]["text"] == "Hello."
