"""Responses made of a chat: what the chat is asked, and what the client is told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from engineroom.asgi import request
from engineroom.errors import APIError
from engineroom.openai.routes import CHAT_COMPLETIONS, RESPONSES

from .chat_double import USAGE, ChatDouble, ElsewhereDouble, chunk, said, usage

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}
CUSTOM_IN_NAMESPACE = {"type": "namespace", "name": "n", "description": "d", "tools": [{"type": "custom", "name": "c"}]}
PICTURE = {"type": "input_image", "file_id": "f"}
IMAGE = "data:image/png;base64,iVBORw0KGgo="


async def asked(**body: Any) -> dict[str, Any]:
    """The chat request that a request becomes."""
    double = ChatDouble()
    status, response = await double.ask(RESPONSES, **body)
    assert status == 200, response
    chat = double.asked[-1]
    assert chat.pop("model") == "m"
    return chat


async def refused(**body: Any) -> dict[str, Any]:
    status, response = await ChatDouble().ask(RESPONSES, **body)
    assert status == 400, response
    error: dict[str, Any] = response["error"]
    return error


async def test_a_text_and_instructions() -> None:
    assert await asked(input="Hi", instructions="Be kind.", max_output_tokens=5, temperature=0, top_p=0.5, top_k=3) == {
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}],
        "max_tokens": 5,
        "temperature": 0,
        "top_p": 0.5,
        "top_k": 3,
    }


async def test_items_of_every_kind_become_messages() -> None:
    items: list[dict[str, Any]] = [
        {"role": "developer", "content": "One."},
        {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Two."}]},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "See:"},
                {"type": "input_image", "image_url": IMAGE, "detail": "low"},
            ],
        },
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I call."}]},
        {"type": "function_call", "call_id": "c0", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a": 1}'},
        {"type": "function_call_output", "call_id": "c0", "output": "0"},
        {
            "type": "function_call_output",
            "call_id": "c1",
            "output": [{"type": "input_text", "text": "1"}, {"type": "input_image", "image_url": IMAGE}],
        },
        {"role": "user", "content": [{"type": "input_text", "text": "And?"}]},
    ]
    image = {"type": "image_url", "image_url": {"url": IMAGE}}
    assert (await asked(input=items))["messages"] == [
        {"role": "system", "content": "One.\n\nTwo."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "See:"},
                {"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}},
            ],
        },
        {
            "role": "assistant",
            "reasoning_content": "Hm.",
            "content": "I call.",
            "tool_calls": [
                {"id": "c0", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
            ],
        },
        {"role": "tool", "tool_call_id": "c0", "content": "0"},
        {"role": "tool", "tool_call_id": "c1", "content": "1"},
        {"role": "user", "content": [image]},
        {"role": "user", "content": "And?"},
    ]


async def test_tools_choices_formats_and_reasoning() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": True}}
    other = {**FUNCTION, "name": "g"}
    named = await asked(input="x", tools=[FUNCTION, other], tool_choice={"type": "function", "name": "f"})
    assert named["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert named["tools"] == [tool]
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]}
    chosen = await asked(input="x", tools=[other, FUNCTION], tool_choice=allowed, parallel_tool_calls=False)
    assert (chosen["tools"], chosen["tool_choice"], chosen["parallel_tool_calls"]) == ([tool], "required", False)
    schema = {"type": "object"}
    text = {"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": True}, "verbosity": "low"}
    formatted = await asked(input="x", text=text, reasoning={"effort": "high"}, top_logprobs=2)
    assert formatted["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": schema, "strict": True},
    }
    assert (formatted["verbosity"], formatted["reasoning_effort"]) == ("low", "high")
    assert (formatted["logprobs"], formatted["top_logprobs"]) == (True, 2)


async def test_functions_of_a_namespace_are_offered_and_called_as_codex_expects() -> None:
    call = {"tool_calls": [{"index": 0, "id": "c0", "function": {"name": "n__f", "arguments": "{}"}}]}
    double = ChatDouble([chunk(call), chunk({}, "tool_calls")])
    inner = {**FUNCTION, "description": "It f's."}
    namespace = {"type": "namespace", "name": "n", "description": "N's.", "tools": [inner, {**inner, "name": "g"}]}
    stored_web = {"type": "web_search", "external_web_access": False}
    asked_with = {"tools": [FUNCTION, namespace, stored_web], "client_metadata": {"a": "b"}}
    _, body = await double.ask(RESPONSES, input="x", **asked_with)
    Response.model_validate(body, strict=True)
    offered = [tool["function"] for tool in double.asked[-1]["tools"]]
    assert [function["name"] for function in offered] == ["f", "n__f", "g"]
    assert offered[1]["description"] == "N's. It f's."
    assert "client_metadata" not in double.asked[-1]
    item = body["output"][0]
    assert (item["name"], item["namespace"]) == ("f", "n")
    output = {"type": "function_call_output", "call_id": "c0", "output": "done"}
    await double.ask(RESPONSES, input=[item, output], **asked_with)
    assert double.asked[-1]["messages"][0]["tool_calls"][0]["function"]["name"] == "n__f"


async def test_what_has_no_effect_on_an_answer_is_taken() -> None:
    plain = await asked(input="x")
    nothing = await asked(
        input="x",
        metadata={"a": "b"},
        user="u",
        safety_identifier="s",
        prompt_cache_key="k",
        prompt_cache_retention="24h",
        service_tier="auto",
        max_tool_calls=3,
        background=False,
        truncation="disabled",
        include=["web_search_call.results"],
        stream_options={"include_obfuscation": False},
    )
    assert nothing == plain


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": [{"type": "web_search_call", "id": "ws_1"}]}, "input.0.type"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input.0.content.0.text"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            "input.0.content.0.file_id",
        ),
        ({"input": "x", "messages": []}, "messages"),
        ({"input": "x", "max_tokens": 3}, "max_tokens"),
        ({"input": "x", "n": 2}, "n"),
        ({"input": "x", "tools": [{"type": "web_search"}]}, "tools.0.type"),
        ({"input": "x", "tools": [{**FUNCTION, "name": "a b"}]}, "tools.0.name"),
        ({"input": "x", "tools": [CUSTOM_IN_NAMESPACE]}, "tools.0.tools.0.type"),
        ({"input": "x", "tools": [FUNCTION], "tool_choice": {"type": "function", "name": "g"}}, "tool_choice"),
        ({"input": "x", "tool_choice": "required"}, "tool_choice"),
        ({"input": "x", "include": ["everything"]}, "include.0"),
        ({"input": "x", "reasoning": {"effort": "much"}}, "reasoning.effort"),
        ({"input": "x", "metadata": {"a": 1}}, "metadata.a"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input.0.content.0.image_url"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": ""}]}, "input.0.call_id"),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}]}, "input.0"),
        ({"input": [{"type": "reasoning", "summary": []}]}, "input"),
        ({"input": "x", "truncation": "much"}, "truncation"),
        ({}, "input"),
    ],
)
async def test_what_is_wrong_is_named_in_the_client_s_own_words(body: dict[str, Any], param: str) -> None:
    error = await refused(**body)
    assert error["param"] == param, error


@pytest.mark.parametrize(
    ("chat", "param"),
    [
        ("messages.1.content.0", "input.1.content.0"),
        ("messages.0", "input.0"),
        ("max_tokens", "max_output_tokens"),
        ("response_format.json_schema.schema", "text.format.schema"),
        ("tools.0.function.parameters", "tools.0.parameters"),
        ("top_k", "top_k"),
    ],
)
async def test_the_chat_s_errors_name_the_client_s_fields(chat: str, param: str) -> None:
    double = ChatDouble([APIError(f"Invalid '{chat}': no.", param=chat)])
    items = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    status, body = await double.ask(RESPONSES, input=items, tools=[FUNCTION])
    assert (status, body["error"]["param"]) == (400, param)
    assert body["error"]["message"] == f"Invalid '{param}': no."


async def test_a_response_is_what_openai_s_types_say() -> None:
    status, body = await ChatDouble().ask(RESPONSES, input="Hi", metadata={"a": "b"}, instructions="Be kind.")
    assert status == 200
    response = Response.model_validate(body, strict=True)
    assert response.output_text == "Hello."
    assert response.metadata == {"a": "b"}
    assert response.instructions == "Be kind."
    assert response.usage is not None
    details = response.usage.input_tokens_details
    assert (response.usage.input_tokens, details.cached_tokens, response.usage.output_tokens) == (7, 2, 3)


ANSWERS: dict[str, list[dict[str, Any]]] = {
    "text": said(),
    "no role, half a character first": [chunk({"content": "ж"}), chunk({}, "stop"), usage()],
    "nothing at all": [chunk({}, "stop")],
    "thought, text, calls": [
        chunk({"role": "assistant", "reasoning_content": "Hm"}),
        chunk({"reasoning_content": "m."}),
        chunk({"content": "I call.\n"}),
        chunk({"tool_calls": [{"index": 0, "id": "c0", "function": {"name": "f", "arguments": ""}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a": 1}'}}]}),
        chunk({"tool_calls": [{"index": 1, "id": "c1", "function": {"name": "f", "arguments": ""}}]}),
        chunk({}, "tool_calls"),
        usage(),
    ],
    "cut off in a call": [
        chunk({"tool_calls": [{"index": 0, "id": "c0", "function": {"name": "f", "arguments": '{"a'}}]}),
        chunk({}, "length"),
    ],
    "refused": [chunk({"refusal": "No"}), chunk({"refusal": "."}), chunk({}, "content_filter")],
}


@pytest.mark.parametrize("summary", [None, "auto"])
@pytest.mark.parametrize("answer", ANSWERS)
async def test_every_event_is_what_openai_s_types_say(answer: str, summary: str | None) -> None:
    double = ChatDouble(ANSWERS[answer])
    body = {"input": "Hi", "reasoning": {"summary": summary}, "include": ["reasoning.encrypted_content"]}
    status, events = await double.ask(RESPONSES, **body, stream=True)
    assert status == 200
    for event in events:
        EVENT.validate_python(event, strict=True)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    streamed = events[-1]["response"]
    _, whole = await ChatDouble(ANSWERS[answer]).ask(RESPONSES, **body)
    for response in (streamed, whole):
        Response.model_validate(response, strict=True)
    assert comparable(streamed) == comparable(whole)
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == streamed["output"]


def comparable(response: dict[str, Any]) -> dict[str, Any]:
    """Without ids and times, and what only some streams tell."""
    output = [{name: value for name, value in item.items() if name != "id"} for item in response["output"]]
    left_out = ("id", "created_at", "completed_at", "usage")
    return {**{name: value for name, value in response.items() if name not in left_out}, "output": output}


async def test_what_came_before_reasoning_text_and_calls_in_their_order() -> None:
    _, body = await ChatDouble(ANSWERS["thought, text, calls"]).ask(RESPONSES, input="Hi")
    assert [item["type"] for item in body["output"]] == ["reasoning", "message", "function_call", "function_call"]
    assert body["output"][0]["content"] == [{"type": "reasoning_text", "text": "Hmm."}]
    assert [item["arguments"] for item in body["output"][2:]] == ['{"a": 1}', "{}"]
    _, cut = await ChatDouble(ANSWERS["cut off in a call"]).ask(RESPONSES, input="Hi")
    assert (cut["status"], cut["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert (cut["output"][0]["status"], cut["output"][0]["arguments"]) == ("incomplete", '{"a')


async def test_a_failure_amid_a_stream_ends_it_as_failed() -> None:
    answer = [chunk({"content": "Hel"}), APIError("The engine is gone.", status=503, code="engine_dead")]
    _, events = await ChatDouble(answer).ask(RESPONSES, input="Hi", stream=True)
    error, failed = events[-2:]
    assert error["type"] == "error"
    assert error["error"]["message"] == "The engine is gone."
    assert failed["type"] == "response.failed"
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["error"]["message"] == "The engine is gone."
    status, body = await ChatDouble(answer).ask(RESPONSES, input="Hi")
    assert (status, body["error"]["code"]) == (503, "engine_dead")


async def test_sealed_reasoning_comes_back() -> None:
    double = ChatDouble(ANSWERS["thought, text, calls"])
    included = {"include": ["reasoning.encrypted_content"], "store": False}
    _, body = await double.ask(RESPONSES, input="Hi", **included)
    item = {**body["output"][0], "content": None}
    await double.ask(RESPONSES, input=[item, {"role": "user", "content": "And?"}], **included)
    assert double.asked[-1]["messages"] == [{"role": "user", "content": "And?"}], "a thought that nothing followed"
    await double.ask(RESPONSES, input=[item, {"role": "assistant", "content": "Yes."}], **included)
    thought = {"role": "assistant", "reasoning_content": "Hmm.", "content": "Yes."}
    assert double.asked[-1]["messages"] == [thought]


async def test_a_conversation_goes_on_from_what_is_kept() -> None:
    double = ChatDouble()
    _, first = await double.ask(RESPONSES, input="One", instructions="Only now.")
    _, second = await double.ask(RESPONSES, input="Two", previous_response_id=first["id"])
    _, third = await double.ask(RESPONSES, input="Three", previous_response_id=second["id"], store=False)
    assert [(message["role"], message["content"]) for message in double.asked[-1]["messages"]] == [
        ("user", "One"),
        ("assistant", "Hello."),
        ("user", "Two"),
        ("assistant", "Hello."),
        ("user", "Three"),
    ]
    reference = {"type": "item_reference", "id": second["output"][0]["id"]}
    _, fourth = await double.ask(RESPONSES, input=[{"role": "user", "content": "x"}, reference])
    assert double.asked[-1]["messages"][1] == {"role": "assistant", "content": "Hello."}
    await double.ask(RESPONSES, input="Five", previous_response_id=fourth["id"])
    assert double.asked[-1]["messages"][1] == {"role": "assistant", "content": "Hello."}, "what was referred to is kept"
    status, body = await double.ask(RESPONSES, input="x", previous_response_id=third["id"])
    assert (status, body["error"]["param"]) == (400, "previous_response_id")
    status, body = await double.ask(RESPONSES, input=[{"type": "item_reference", "id": "msg_no"}])
    assert (status, body["error"]["param"]) == (404, "input.0.id")
    async with request(double.app, "GET", f"{RESPONSES}/{second['id']}/input_items") as listed:
        assert b'"Two"' in await listed.read()


async def test_input_items_are_listed_by_pages() -> None:
    double = ChatDouble()
    turns = [{"role": role, "content": f"{number}"} for number in range(15) for role in ("user", "assistant")]
    _, first = await double.ask(RESPONSES, input=turns[:-1])

    async def listed(query: str) -> tuple[int, Any]:
        async with request(double.app, "GET", f"{RESPONSES}/{first['id']}/input_items?{query}") as response:
            return response.status, msgspec.json.decode(await response.read())

    _, newest = await listed("")
    assert (len(newest["data"]), newest["has_more"], newest["data"][0]["content"]) == (20, True, "14")
    _, rest = await listed(f"after={newest['last_id']}")
    assert (len(rest["data"]), rest["has_more"], rest["data"][-1]["content"]) == (9, False, "0")
    _, oldest = await listed("order=asc&limit=2")
    assert ([item["content"] for item in oldest["data"]], oldest["has_more"]) == (["0", "0"], True)
    assert (await listed(f"after={rest['last_id']}"))[1]["data"] == []
    for query in ("limit=0", "limit=101", "limit=x", "order=up", "after=nobody"):
        status, refused = await listed(query)
        assert (status, refused["error"]["param"]) == (400, query.partition("=")[0])


async def test_one_that_is_too_large_to_be_kept_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engineroom.openai.surfaces.responses.store.LARGEST_RESPONSE", 5000)
    double = ChatDouble()
    for text, kept in (("short", True), ("long" * 1000, False)):
        _, body = await double.ask(RESPONSES, input=text)
        assert body["store"] is kept
        async with request(double.app, "GET", f"{RESPONSES}/{body['id']}") as response:
            assert response.status == (200 if kept else 404)


async def test_a_conversation_that_is_too_long_is_shortened_where_the_client_allows_it() -> None:
    class Short(ChatDouble):
        async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
            from engineroom.openai.body import checked_request

            json = checked_request(scope).json or {}
            if len(json["messages"]) > 4:
                raise APIError("Too long: 'messages'.", param="messages", code="context_length_exceeded")
            await super()._serve(scope, receive, send)

    turns = [{"role": role, "content": f"{number}"} for number in range(8) for role in ("user", "assistant")]
    body = {"input": [{"role": "system", "content": "s"}, *turns, {"role": "user", "content": "last"}]}
    double = Short()
    status, response = await double.ask(RESPONSES, **body, truncation="auto")
    assert status == 200, response
    first, *others = double.asked[-1]["messages"]
    assert first["role"] == "system"
    assert others[0]["role"] == "user"
    assert others[-1]["content"] == "last"
    status, response = await double.ask(RESPONSES, **body)
    assert (status, response["error"]["param"]) == (400, "input")
    assert response["error"]["message"] == "Too long: 'input'."


async def test_the_tokens_of_an_input_are_counted() -> None:
    status, body = await ChatDouble(said()).ask(f"{RESPONSES}/input_tokens", input="Hi")
    assert (status, body) == (200, {"object": "response.input_tokens", "input_tokens": USAGE["prompt_tokens"]})


async def test_a_server_elsewhere_is_asked_for_the_route_first() -> None:
    has = ElsewhereDouble([RESPONSES])
    assert await has.ask(RESPONSES, input="Hi") == (200, {"its": "own"})
    lacks = ElsewhereDouble([])
    for _ in range(2):
        _, body = await lacks.ask(RESPONSES, input="Hi")
        assert body["output"][0]["content"][0]["text"] == "Hello."
    assert lacks.paths == [RESPONSES, CHAT_COMPLETIONS, CHAT_COMPLETIONS], "what it lacks is not asked for each time"
