"""What a user's message names that a tool call can be made of: tools, numbers, quoted texts.

Suites of clients ask a model for `magic_function(3)` and want a call with 3 in it. An echo has that much to repeat.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w])")
_QUOTED = re.compile(r"""(?<!\w)(?:'([^'\n]+)'|"([^"\n]+)"|`([^`\n]+)`|“([^“”\n]+)”)(?!\w)""")
_WORD = re.compile(r"[a-z]{4,}")
_MANY = 1000
"""More numbers or quoted texts than this are not looked at."""


class Mentions:
    """What is left of a message's numbers and quoted texts; each is taken once, in their order.

    Args:
        text: the message.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.quoted = ["".join(groups) for groups in _QUOTED.findall(text)[:_MANY]]
        self._texts = list(self.quoted)
        self._numbers = [float(number) for number in _NUMBER.findall(text)[:_MANY]]

    def tools(self, names: Sequence[str]) -> list[str]:
        """The tools that the message names; where it names none, those that share a word of four letters with it."""
        named = [name for name in names if name in self.text]
        words = set(_WORD.findall(self.text.lower()))
        return named or [name for name in names if words.intersection(_WORD.findall(name.lower()))]

    def take_number(self, fits: Callable[[float], bool]) -> float | None:
        """The next number that fits; None where there is none."""
        return _take(self._numbers, fits)

    def take_text(self, fits: Callable[[str], bool]) -> str | None:
        """The next quoted text that fits, else the whole message if that does; None for neither."""
        quoted = _take(self._texts, fits)
        if quoted is None and self.text and fits(self.text):
            return self.text
        return quoted


def _take(values: list[T], fits: Callable[[T], bool]) -> T | None:
    for number, value in enumerate(values):
        if fits(value):
            return values.pop(number)
    return None
