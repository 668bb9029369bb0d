"""An answer cut into blocks while it grows, and reasoning told apart in it."""

from __future__ import annotations

import io
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from engineroom_operations.chat.answer import Piece
from engineroom_operations.chat.keyboard import unfinished, unquoted
from engineroom_operations.chat.markdown import THEME, BlockSplitter, DrawnBlock, PlainMarkdown
from engineroom_operations.chat.thinking import ThinkingSplitter
from engineroom_operations.chat.words import Command, parse

ANSWER = """# Title

Some **bold** text
over two lines.

1. one
2. two

   still two

| a | b |
|---|---|
| 1 | 2 |

```python
def f():

    return "<div>"
```
- a
- b

> quoted
last <div> line
"""


def drawn(markup: str) -> str:
    console = Console(theme=THEME, width=60, file=io.StringIO(), force_terminal=False)
    console.print(DrawnBlock(PlainMarkdown(markup)))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[start:end] for start, end in pairwise(places)]


@given(st.lists(st.integers(0, 10_000), max_size=60))
def test_however_it_is_cut_all_of_it_is_drawn_once(cuts: list[int]) -> None:
    splitter = BlockSplitter()
    blocks = [block for piece in pieces_of(ANSWER, cuts) for block in splitter.feed(piece)] + splitter.finish()
    assert "".join("".join(blocks).split()) == "".join(ANSWER.split())
    whole = "".join(drawn(ANSWER).split())
    assert "".join("".join(drawn(block) for block in blocks).split()) == whole


@given(
    st.text(alphabet="ab \n\r-#*`|>1.\t\x1b\u2028<&[]()_~", max_size=200), st.lists(st.integers(0, 200), max_size=20)
)
def test_no_text_is_lost_whatever_it_is(text: str, cuts: list[int]) -> None:
    splitter = BlockSplitter()
    blocks = [block for piece in pieces_of(text, cuts) for block in splitter.feed(piece)] + splitter.finish()
    kept = text.replace("\x1b", "").replace("\r", "")
    assert "".join("".join(blocks).split()) == "".join(kept.split())
    for block in blocks:
        drawn(block)


def test_html_is_text_and_code_has_no_padding() -> None:
    text = drawn(ANSWER)
    assert "last <div> line" in text
    assert 'return "<div>"\n' in text
    assert all(line == line.rstrip() for line in text.splitlines())


@given(st.lists(st.integers(0, 200), max_size=20))
def test_thinking_is_told_apart_however_it_is_cut(cuts: list[int]) -> None:
    splitter = ThinkingSplitter()
    text = "<think>\nhm </thi nk>, 2 < 3</think>\n\nFour <think>."
    pieces: list[Piece] = []
    for part in pieces_of(text, cuts):
        pieces += splitter.feed(part)
    pieces += splitter.finish()
    assert "".join(piece.text for piece in pieces if piece.reasoning).strip() == "hm </thi nk>, 2 < 3"
    assert "".join(piece.text for piece in pieces if not piece.reasoning).strip() == "Four <think>."


@pytest.mark.parametrize("text", ["<", "< 3 is less", "<thin", "  <b>", ""])
def test_what_only_begins_like_thinking_is_the_answer(text: str) -> None:
    splitter = ThinkingSplitter()
    pieces = [*splitter.feed(text), *splitter.finish()]
    assert "".join(piece.text for piece in pieces) == text
    assert not any(piece.reasoning for piece in pieces)


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("/stats", Command("/stats")),
        ("/MODEL  qwen ", Command("/model", "qwen")),
        ("/exit", Command("/bye")),
        ("/usr/bin/env", None),
        ("/", None),
        ("//stats is a word", None),
        ("what is /stats", None),
        ("/a\nb", None),
    ],
)
def test_commands_are_told_from_messages(line: str, command: Command | None) -> None:
    assert parse(line) == command


@pytest.mark.parametrize(
    ("text", "goes_on", "message"),
    [
        ("one", False, "one"),
        ("one\\", True, ""),
        ("one\\\ntwo", False, "one\ntwo"),
        ('"""', True, ""),
        ('"""one\ntwo', True, ""),
        ('"""one\ntwo"""', False, "one\ntwo"),
        ('say """ here', False, 'say """ here'),
    ],
)
def test_a_message_over_several_lines(text: str, goes_on: bool, message: str) -> None:
    assert unfinished(text) is goes_on
    if not goes_on:
        assert unquoted(text) == message
