"""Text from bytes: the same however it was split into tokens."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engineroom.openai.stop_strings import TextCutter

few_letters = st.text("ab\n日😀", max_size=30)
stop_strings = st.lists(st.text("ab\n日😀", min_size=1, max_size=5), max_size=4)


def cut(pieces: Sequence[bytes], stops: Sequence[str] = ()) -> tuple[str, bool]:
    cutter, shown = TextCutter(stops), ""
    for piece in pieces:
        shown += cutter.feed(piece)
        if cutter.stopped:
            return shown, True
    shown += cutter.finish()
    return shown, cutter.stopped


def split(data: bytes, places: Sequence[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(ends)]


def before_stop(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """What the rule says, character by character: the stop string that is complete first cuts, the longest of them."""
    for end in range(len(text) + 1):
        complete = [stop for stop in stops if text[:end].endswith(stop)]
        if complete:
            return text[: end - max(map(len, complete))], True
    return text, False


@given(few_letters, stop_strings, st.lists(st.integers(0, 200)))
def test_a_split_never_matters(text: str, stops: list[str], places: list[int]) -> None:
    assert cut(split(text.encode(), places), stops) == before_stop(text, stops)


@given(st.binary(max_size=40), st.lists(st.integers(0, 200)))
def test_any_bytes_become_what_python_makes_of_them(data: bytes, places: list[int]) -> None:
    assert cut(split(data, places)) == (data.decode("utf-8", "replace"), False)


@given(few_letters, stop_strings, st.lists(st.integers(0, 200)))
def test_only_a_possible_beginning_is_held_back(text: str, stops: list[str], places: list[int]) -> None:
    cutter = TextCutter(stops)
    for piece in split(text.encode(), places):
        cutter.feed(piece)
        if cutter.stopped:
            break
        assert cutter.held == "" or any(stop.startswith(cutter.held) for stop in stops)


def test_a_character_that_never_becomes_whole() -> None:
    assert cut(["😀".encode()[:3]]) == ("\ufffd", False)


@pytest.mark.parametrize("length", [100_000])
def test_a_long_stop_string_is_bearable(length: int) -> None:
    cutter = TextCutter(["a" * length + "b"])
    assert "".join(cutter.feed(b"a") for _ in range(2_000)) + cutter.finish() == "a" * 2_000
