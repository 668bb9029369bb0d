"""Reasoning that a server leaves in the answer's text, between `<think>` and `</think>` at its beginning."""

from __future__ import annotations

from collections.abc import Iterator

from .answer import Piece

_OPEN = "<think>"
_CLOSE = "</think>"


class ThinkingSplitter:
    """Pieces of text in, pieces out of which it is known whether they are reasoning."""

    def __init__(self) -> None:
        self._rest = ""
        self._state = "before"

    def feed(self, text: str) -> Iterator[Piece]:
        """What is known of the text so far; the rest waits for more."""
        if self._state == "after":
            yield Piece(text)
            return
        self._rest += text
        if self._state == "before":
            opening = self._rest.lstrip()
            if not opening.startswith(_OPEN):
                if not _OPEN.startswith(opening):
                    yield from self._answer(self._rest)
                return
            self._state = "inside"
            self._rest = opening.removeprefix(_OPEN).lstrip("\n")
        before, separator, after = self._rest.partition(_CLOSE)
        if separator:
            if before:
                yield Piece(before, reasoning=True)
            yield from self._answer(after.lstrip("\n"))
            return
        kept = _overlap(self._rest, _CLOSE)
        known = self._rest[: len(self._rest) - kept]
        self._rest = self._rest[len(known) :]
        if known:
            yield Piece(known, reasoning=True)

    def finish(self) -> Iterator[Piece]:
        """What is left at the end."""
        if self._rest:
            yield Piece(self._rest, reasoning=self._state == "inside")
        self._rest = ""

    def _answer(self, text: str) -> Iterator[Piece]:
        self._state = "after"
        self._rest = ""
        if text:
            yield Piece(text)


def _overlap(text: str, word: str) -> int:
    """How many characters at the text's end may be the beginning of `word`."""
    return next((size for size in range(min(len(text), len(word) - 1), 0, -1) if word.startswith(text[-size:])), 0)
