"""An event stream made shorter while it goes by, for those who keep it and need the whole answer in the end."""

from __future__ import annotations

import re

_TEXT_EVENT = re.compile(
    rb"""
    (
        data:\ \{[^\n]*"choices":\[\{
        (?:IDLE,)*
        (?:"delta":\{(?:"role":"assistant",|IDLE,)*)?
        "(?:content|reasoning|reasoning_content|text)":"
    )
    [^"\\\n]*(?:\\.[^"\\\n]*)*  # The text.
    (
        "(?:,IDLE)*
        (?:\}(?:,IDLE)*)?
        \}\][^\n]*\}\n\n  # No other choice comes behind it.
    )
    \Z
    """.replace(b"IDLE", rb'"\w+":(?:null|\d+)'),
    re.VERBOSE,
)
"""The last event of a piece, if it adds to the text of one choice and to nothing else: numbers and nulls say nothing
more where they come again. Within a JSON string the quotes would be escaped."""
_TAIL = 16
"""Bytes that the ends of like events have in common at least."""
_TRIES = 8
"""After so many pieces in a row that only looked like the one before, a stream is taken for one without like events."""


class EventMerger:
    """Takes in the event stream of a chat completion or a completion. Neighbours that differ by nothing but their text,
    as most do, become one event with the text of all: `CompletionAggregator` makes the same of the shorter stream.

    They are known by the bytes before and behind their text, which costs a fraction of decoding and adding them, and of
    each only the text is kept.
    """

    __slots__ = ("_after", "_before", "_frame", "_parts", "_texts", "_tries")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        """The stream without its last pieces, which are in `_texts`."""
        self._texts: list[bytes] = []
        """What those have between `_before` and `_after`: a text, or several with events' ends between them."""
        self._before = b""
        self._after = b""
        self._frame = -1
        """Bytes of `_before` and `_after`; -1 while no like piece is expected."""
        self._tries = _TRIES

    def add(self, piece: bytes) -> None:
        """Take the stream's next bytes, which may begin and end anywhere. It is on the path of every token."""
        text = piece.removeprefix(self._before).removesuffix(self._after)
        if len(piece) - len(text) == self._frame:
            self._texts.append(text)
            return
        self._merge()
        self._before = b""
        self._after = b""
        self._frame = -1
        if self._tries and self._parts and self._parts[-1].endswith(piece[-_TAIL:]):
            self._tries -= 1
            self._expect_like(piece)
        self._parts.append(piece)

    def events(self) -> bytes:
        """The stream so far, with fewer events."""
        self._merge()
        return b"".join(self._parts)

    def _merge(self) -> None:
        if not self._texts:
            return
        text = b"".join(self._texts).replace(self._after + self._before, b"")
        if text.find(b"\n") < 0:
            self._parts += [self._before, text, self._after]
        else:  # One of the pieces has another event amid like ones.
            self._parts += [self._before + text + self._after for text in self._texts]
        self._texts = []
        self._tries = _TRIES

    def _expect_like(self, piece: bytes) -> None:
        """Expect events like the last one of `piece`, if that adds to a text alone."""
        event = _TEXT_EVENT.search(piece)
        if event:
            self._before = event[1]
            self._after = event[2]
            self._frame = len(self._before) + len(self._after)
