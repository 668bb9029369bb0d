"""A generation's bytes become its text: characters put together across tokens, the text cut at a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

RETURN_STOP_REASON = "return_stop_reason"
"""A chat's field beyond OpenAI's: whether a choice that a stop string ended says which, in its `stop_reason`."""

_decoder = codecs.getincrementaldecoder("utf-8")


class TextCutter:
    """Turns the bytes of one generation into text that may be shown.

    What could be the beginning of a stop string is held back until it is known not to be one. Of several stop
    strings the one that is complete first cuts, of those the longest, so the text never depends on how it was
    split into tokens.

    Args:
        stops: the stop strings, none of them empty; they are not part of the text.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._stops = stops
        self._decoder = _decoder("replace")
        self._split = False
        self.held = ""
        """Decoded but not yet shown."""
        self.stopped = False
        """Whether a stop string was met; nothing more is to be fed then."""
        self.stop: str | None = None
        """The stop string that was met."""

    def feed(self, data: bytes) -> str:
        """The text that `data` completes, possibly none."""
        if not self._split and data.isascii():
            text = data.decode("ascii")
        else:
            text = self._decoder.decode(data)
            self._split = bool(self._decoder.getstate()[0])
        return self._cut(text) if self._stops and text else text

    def finish(self) -> str:
        """The rest: what was held back, and U+FFFD for a character that never became whole."""
        text = self._decoder.decode(b"", final=True)
        if self._stops and text:
            text = self._cut(text)
        text, self.held = text + self.held, ""
        return text

    def _cut(self, text: str) -> str:
        text = self.held + text
        places = ((text.find(stop), stop) for stop in self._stops)
        matches = [(at + len(stop), at, stop) for at, stop in places if at >= 0]
        if matches:
            _, at, self.stop = min(matches)
            self.stopped = True
            self.held = ""
            return text[:at]
        hold = min(possible_start(text, stop) for stop in self._stops)
        self.held = text[hold:]
        return text[:hold]


def possible_start(text: str, word: str) -> int:
    """Where the longest end of `text` begins that `word` begins with; its length where there is none."""
    at = text.find(word[0], max(0, len(text) - len(word) + 1))
    while at >= 0 and not word.startswith(text[at:]):
        at = text.find(word[0], at + 1)
    return at if at >= 0 else len(text)
