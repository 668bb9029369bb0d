"""Event streams, split at any byte."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engineroom.openai.sse import DONE, EventParser, EventSplitter, EventTooLargeError, encode, payloads

values = st.dictionaries(st.sampled_from("ab"), st.text("x\r\n日😀\\", max_size=5))
endings = st.sampled_from(["\n\n", "\r\n\r\n", " \n\n", "\n\r\n"])
beginnings = st.sampled_from(["data: ", "data:", ": ping\n\ndata: ", "event: x\ndata: ", "id: 1\r\ndata: "])
events = st.lists(st.tuples(beginnings, values, endings), max_size=6)
places = st.lists(st.integers(0, 10_000))


def stream(events: list[tuple[str, dict[str, str], str]]) -> bytes:
    return "".join(begin + json.dumps(value) + end for begin, value, end in events).encode()


def split(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(ends)]


@given(events, places)
def test_the_data_of_every_event(events: list[tuple[str, dict[str, str], str]], places: list[int]) -> None:
    parser = EventParser()
    values = [json.loads(data) for piece in split(stream(events), places) for data in parser.feed(piece)]
    assert values == [value for _, value, _ in events]


@given(events, places)
def test_whole_events_and_not_a_byte_lost(events: list[tuple[str, dict[str, str], str]], places: list[int]) -> None:
    data, splitter = stream(events), EventSplitter()
    parts = [splitter.feed(piece) for piece in split(data, places)]
    assert b"".join(parts) + splitter.rest == data
    assert all(part == b"" or part.endswith((b"\n\n", b"\n\r\n")) for part in parts)
    assert payloads(b"".join(parts)) == payloads(data)


def test_several_lines_of_data_are_one() -> None:
    assert payloads(b"data: a\ndata: b\n\n" + DONE) == [b"a\nb", b"[DONE]"]


def test_a_stream_that_ends_without_its_blank_line() -> None:
    parser = EventParser()
    assert parser.feed(encode(b"1") + b"data: 2\n") == [b"1"]
    assert parser.finish() == [b"2"]
    assert parser.finish() == []


def test_an_event_without_end_is_an_error() -> None:
    splitter = EventSplitter(limit=1000)
    for _ in range(10):
        assert splitter.feed(b"x" * 100) == b""
    with pytest.raises(EventTooLargeError, match="1000 bytes"):
        splitter.feed(b"x")
