"""Answers read from streams as servers send them: in any order, with quirks, and cut anywhere."""

from __future__ import annotations

from typing import Any

import pytest

from engineroom.errors import APIError
from engineroom.openai.surfaces.chat_reader import (
    CallArguments,
    CallStart,
    ChatReader,
    ReasoningPiece,
    RefusalPiece,
    TextPiece,
)

from .chat_double import chunk


def read(*events: dict[str, Any], stops: tuple[str, ...] = ()) -> tuple[list[Any], ChatReader]:
    reader = ChatReader(stops)
    pieces = [piece for event in events for piece in reader.read(event)]
    return [*pieces, *reader.finish()], reader


def call(index: int | None, **fields: Any) -> dict[str, Any]:
    function = {name: fields.pop(name) for name in ("name", "arguments") if name in fields}
    return chunk({"tool_calls": [{"index": index, **fields, "function": function}]})


def test_reasoning_by_either_name_text_and_a_refusal() -> None:
    pieces, reader = read(
        chunk({"reasoning_content": "Hm"}),
        chunk({"reasoning": "m", "content": "a"}),
        chunk({"content": [{"type": "text", "text": "b"}]}),
        chunk({"refusal": "No."}),
        chunk({}, "stop"),
    )
    assert pieces == [ReasoningPiece("Hm"), ReasoningPiece("m"), TextPiece("a"), TextPiece("b"), RefusalPiece("No.")]
    assert reader.finish_reason == "stop"


def test_other_choices_nulls_and_usage_anywhere() -> None:
    other = {"choices": [{"index": 1, "delta": {"content": "x"}}], "usage": {"prompt_tokens": 1}}
    pieces, reader = read(other, {"choices": None}, chunk({"content": None, "tool_calls": None}), {})
    assert pieces == []
    assert reader.usage == {"prompt_tokens": 1}


def test_white_space_before_a_call_is_no_text_and_before_text_it_is() -> None:
    before_a_call, _ = read(chunk({"content": "\n"}), chunk({"content": "\n"}), call(0, id="c", name="f"))
    assert before_a_call == [CallStart("c", "f")]
    before_text, _ = read(chunk({"content": "\n"}), chunk({"content": " a"}), chunk({"content": "\n"}))
    assert before_text == [TextPiece("\n a"), TextPiece("\n")]
    nothing_else, _ = read(chunk({"content": "\n"}))
    assert nothing_else == [TextPiece("\n")]


def test_calls_one_after_the_other() -> None:
    pieces, reader = read(
        call(0, id="c0", name="f", arguments=""),
        call(0, arguments='{"a"'),
        call(0, name="f", arguments=": 1}"),
        call(1, id="c1", name="g", arguments="{}"),
        chunk({}, "tool_calls"),
    )
    assert pieces == [
        CallStart("c0", "f"),
        CallArguments('{"a"'),
        CallArguments(": 1}"),
        CallStart("c1", "g"),
        CallArguments("{}"),
    ]
    assert reader.called


def test_calls_without_an_index_and_all_with_the_same() -> None:
    both = chunk({"tool_calls": [{"id": f"c{n}", "function": {"name": "f", "arguments": "{}"}} for n in (0, 1)]})
    assert [type(piece) for piece in read(both)[0]] == [CallStart, CallArguments] * 2
    same = [call(0, id="a", name="f", arguments="1"), call(0, id="b", name="g", arguments="2")]
    assert read(*same)[0] == [CallStart("a", "f"), CallArguments("1"), CallStart("b", "g"), CallArguments("2")]


def test_a_call_whose_name_comes_late_and_one_without_an_id() -> None:
    pieces, _ = read(call(0, arguments='{"a"'), call(0, name="f"), call(0, arguments=": 1}"))
    start, *arguments = pieces
    assert start.name == "f"
    assert start.call_id.startswith("call_")
    assert arguments == [CallArguments('{"a"'), CallArguments(": 1}")]


def test_a_call_that_goes_on_after_the_next_has_begun_is_the_server_s_fault() -> None:
    with pytest.raises(APIError, match="mixed up"):
        read(call(0, id="a", name="f"), call(1, id="b", name="g"), call(0, arguments="{}"))


def test_an_error_amid_a_stream() -> None:
    with pytest.raises(APIError, match="out of memory"):
        read(chunk({"content": "a"}), {"error": {"message": "out of memory"}})


def test_which_stop_string_ended_it() -> None:
    pieces, reader = read(chunk({"content": "one tw"}), chunk({"content": "o"}), chunk({}, "stop"), stops=("two", "x"))
    assert "".join(piece.text for piece in pieces) == "one "
    assert reader.stop_sequence == "two"
    _, reader = read(chunk({}, "stop", stop_reason="END"))
    assert reader.stop_sequence == "END"
    pieces, reader = read(chunk({"content": "one tw"}), chunk({}, "length", stop_reason=None), stops=("two",))
    assert "".join(piece.text for piece in pieces) == "one tw"
    assert reader.stop_sequence is None


def test_a_stop_token_is_no_stop_string() -> None:
    assert read(chunk({}, "stop", stop_reason=128009))[1].stop_sequence is None
