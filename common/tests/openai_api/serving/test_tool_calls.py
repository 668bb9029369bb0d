"""Tool calls in a model's text: every form, however it is split into tokens."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from engineroom.openai.serving.tool_calls import ToolCallChunk, ToolCallParser, schema

NAMES = {"weather", "clock"}
CALL = '{"name": "weather", "arguments": {"city": "Par\\"}{is", "days": [{"n": 1}, {}]}}'
ARGUMENTS = {"city": 'Par"}{is', "days": [{"n": 1}, {}]}
CLOCK = '{"name": "clock", "arguments": {}}'


def read(text: str, size: int) -> tuple[str, list[tuple[str, Any]], int]:
    """What is shown, the calls and how many are complete, of a text that comes `size` characters at a time."""
    reader = ToolCallParser(NAMES)
    shown, calls = "", {}
    parts = [part for at in range(0, len(text), size) for part in reader.feed(text[at : at + size])]
    for part in [*parts, *reader.feed("", last=True)]:
        if isinstance(part, str):
            shown += part
            continue
        assert isinstance(part, ToolCallChunk)
        name, arguments = calls.get(part.call, ("", ""))
        assert not (name and part.name), "the name comes once"
        calls[part.call] = name + (part.name or ""), arguments + part.arguments
    return shown, [calls[number] for number in sorted(calls)], reader.calls


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("text", "shown", "names"),
    [
        (CALL, "", ["weather"]),
        (f"\n {CALL}\n", "", ["weather"]),
        (f"<tool_call>\n{CALL}\n</tool_call>", "", ["weather"]),
        (f"Let me look.\n<tool_call>{CALL}</tool_call>", "Let me look.\n", ["weather"]),
        (f"<tool_call>{CALL}</tool_call>\n<tool_call>{CLOCK}</tool_call>", "", ["weather", "clock"]),
        (f"<tool_call>{CALL}</tool_call> Done.", "Done.", ["weather"]),
        (f"[TOOL_CALLS][{CALL}, {CLOCK}]", "", ["weather", "clock"]),
        (f"<|python_tag|>{CALL.replace('arguments', 'parameters')}", "", ["weather"]),
        (f"{CALL}; {CLOCK}", "", ["weather", "clock"]),
        (f'{{"type": "function", {CALL[1:]}', "", ["weather"]),
        (f'{{"arguments": {json.dumps(ARGUMENTS)}, "name": "weather"}}', "", ["weather"]),
        (f'{{"name": "weather", "arguments": {json.dumps(json.dumps(ARGUMENTS))}}}', "", ["weather"]),
    ],
)
def test_calls_are_read(text: str, shown: str, names: list[str], size: int) -> None:
    seen, calls, complete = read(text, size)
    assert (seen, [name for name, _ in calls], complete) == (shown, names, len(names))
    assert json.loads(calls[0][1]) == ARGUMENTS


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize(
    "text",
    [
        "no call at all",
        "a < b and {braces}",
        '{"answer": {"name": "weather"}}',
        '{"name": "other", "arguments": {}}',
        '{"name": "weather"}',
        "{}",
        '{"name": ',
        " \n{not json}",
        "<tool_call>what?",
        "   ",
        "",
    ],
)
def test_what_is_no_call_is_text(text: str, size: int) -> None:
    assert read(text, size) == (text, [], 0)


@pytest.mark.parametrize("size", [1, 4, 1000])
def test_a_call_that_is_cut_off_keeps_what_there_is(size: int) -> None:
    shown, calls, _ = read(CALL[:60], size)
    assert shown == ""
    assert calls == [("weather", CALL[CALL.index('{"city') : 60])]


def test_json_that_cannot_be_a_call_is_not_held_back() -> None:
    reader = ToolCallParser(NAMES)
    assert list(reader.feed('{"answer": [1, ')) == ['{"answer": [1, ']


def test_a_call_s_schema_keeps_its_references() -> None:
    parameters = {
        "type": "object",
        "properties": {"at": {"$ref": "#/$defs/Place"}},
        "$defs": {"Place": {"type": "string"}},
    }
    call = schema([{"type": "function", "function": {"name": "go", "parameters": parameters}}])
    assert call["$defs"] == {"Place": {"type": "string"}}
    assert call["properties"]["arguments"]["properties"]["at"] == {"$ref": "#/$defs/Place"}


def tool(name: str, parameters: dict[str, object]) -> dict[str, object]:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def placed(definition: dict[str, object], place: str = "$defs") -> dict[str, object]:
    """Parameters with one definition, over a second one that looks the same everywhere."""
    return {
        "type": "object",
        "properties": {"at": {"$ref": f"#/{place}/Spot"}},
        "required": ["at"],
        place: {"Spot": {"$ref": f"#/{place}/Place"}, "Place": definition},
    }


@pytest.mark.parametrize("place", ["$defs", "definitions"])
def test_definitions_of_the_same_name_stay_each_tool_s_own(place: str) -> None:
    go = tool("go", placed({"type": "string"}, place))
    dig = tool("dig", placed({"type": "integer"}, place))
    call = jsonschema.Draft202012Validator(schema([go, dig]))
    assert call.is_valid({"name": "go", "arguments": {"at": "here"}})
    assert call.is_valid({"name": "dig", "arguments": {"at": 3}})
    assert not call.is_valid({"name": "go", "arguments": {"at": 3}})
    assert not call.is_valid({"name": "dig", "arguments": {"at": "here"}})


def test_equal_definitions_are_shared() -> None:
    call = schema([tool("go", placed({"type": "string"})), tool("dig", placed({"type": "string"}))])
    assert set(call["$defs"]) == {"Spot", "Place"}


def test_a_renamed_definition_takes_no_other_s_name() -> None:
    more = placed({"type": "integer"})
    more["$defs"] = {**more["$defs"], "Place_2": {"type": "boolean"}, "Spot_2": {"type": "null"}}  # type: ignore[dict-item]
    call = jsonschema.Draft202012Validator(schema([tool("go", placed({"type": "string"})), tool("dig", more)]))
    assert call.is_valid({"name": "dig", "arguments": {"at": 3}})
    assert not call.is_valid({"name": "dig", "arguments": {"at": True}})


def test_a_schema_that_refers_to_itself_still_does_inside_a_call() -> None:
    node = {
        "type": "object",
        "properties": {"a/b": {"type": "integer"}, "same": {"$ref": "#/properties/a~1b"}, "next": {"$ref": "#"}},
        "additionalProperties": False,
    }
    for tools in ([tool("go", node)], [tool("go", node), tool("dig", {"type": "object"})]):
        call = jsonschema.Draft202012Validator(schema(tools))
        assert call.is_valid({"name": "go", "arguments": {"next": {"next": {"a/b": 1, "same": 2}}}})
        assert not call.is_valid({"name": "go", "arguments": {"next": {"name": "go"}}})
        assert not call.is_valid({"name": "go", "arguments": {"same": "text"}})


def test_data_in_a_schema_is_no_reference() -> None:
    parameters = {"type": "object", "properties": {"at": {"enum": [{"$ref": "#/x"}]}}}
    call = schema([tool("go", parameters)])
    assert call["properties"]["arguments"]["properties"]["at"] == {"enum": [{"$ref": "#/x"}]}
