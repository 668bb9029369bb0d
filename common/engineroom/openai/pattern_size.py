"""How large a regular expression is once all that it repeats is written out, and in how many ways it can match."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_TOKEN = re.compile(r"[^\\\[(){}|*+?]+(?![*+?{])|\\.|\[\^?\]?(?:\\.|[^\]\\])*\]?|\{[^{}]*\d[^{}]*\}|.", re.DOTALL)
"""Plain characters that nothing repeats, one character of any kind, a class, or a bound."""

_FEW = 8
"""As often as this, a part of varying length is repeated at the price of as many ways. From there on each way is tried
from each, so that the price grows with the square."""

_STEEP = 4
"""See `ways_of_optional`."""

_GROUP_KINDS = re.compile(r"\?(?::|<?[=!]|P?<\w+>)")


class PatternSize(NamedTuple):
    """characters: with all repetitions written out. ways: that a text may be matched in at one time, at most."""

    characters: int
    ways: int


class _PatternPart(NamedTuple):
    """A part of a pattern.

    length: of the texts that it matches, None where they differ.
    optional: parts in a row that it is, each of which may be left out; 0 where it may not be left out itself.
    row: the most of such parts in a row anywhere in it.
    """

    characters: int
    ways: int
    length: int | None
    optional: int = 0
    row: int = 0


_COMPARED = 16
"""Characters of a class that cost as much as one way."""

_MANY = 10**9
"""Where counting ends; more digits than it has are not read."""


def ways_of_optional(parts: int) -> int:
    """The ways of parts in a row that may all be left out, all repetitions written out.

    Each may be followed by each, and an engine tries every path: twelve of `[a-z]{0,12}` in a row keep others waiting
    for a second, twenty for half a minute. A row that is repeated without end takes as long as one of twice its length.
    """
    return min(parts**3 // _STEEP, _MANY)


def measure_pattern(pattern: str) -> PatternSize:
    """The size of a regular expression; of a malformed one about as much."""
    # Each group that is open: its alternatives, the last of which goes on.
    groups: list[list[list[_PatternPart]]] = [[[]]]
    position = 0
    while match := _TOKEN.match(pattern, position):
        token = match[0]
        position = match.end()
        sequence = groups[-1][-1]
        if token == "(":
            groups.append([[]])
            if kind := _GROUP_KINDS.match(pattern, position):
                position = kind.end()
        elif token == ")" and len(groups) > 1:
            inner = groups.pop()
            groups[-1][-1].append(_any_of(inner))
        elif token == "|":
            groups[-1].append([])
        elif token in "*+?" or (token[0] == "{" and len(token) > 2):
            if sequence:
                sequence.append(_repeated(sequence.pop(), token))
        else:
            sequence.append(_single(token))
    while len(groups) > 1:
        inner = groups.pop()
        groups[-1][-1].append(_any_of(inner))
    whole = _any_of(groups[0])
    return PatternSize(max(whole.characters, len(pattern)), whole.ways)


def _single(token: str) -> _PatternPart:
    if token[0] == "[":
        # Each character is compared with each of a class.
        return _PatternPart(1, 1 + len(token) // _COMPARED, 1)
    size = 1 if token[0] == "\\" else len(token)
    return _PatternPart(size, 1, size)


def _sequence(parts: list[_PatternPart]) -> _PatternPart:
    varying = sum(part.ways for part in parts if part.length is None)
    fixed = max((part.ways for part in parts if part.length is not None), default=0)
    lengths = [part.length for part in parts]
    length = None if None in lengths else sum(length or 0 for length in lengths)
    ways = max(1, varying + fixed)
    optional, row = optional_parts([part.optional for part in parts])
    if row > max((part.optional for part in parts), default=0):
        ways = max(ways, ways_of_optional(row))
    row = max([row, *(part.row for part in parts)])
    return _PatternPart(sum(part.characters for part in parts), ways, length, optional, row)


def optional_parts(counts: Sequence[int]) -> tuple[int, int]:
    """How many parts in a row a sequence is that may all be left out, 0 where it may not; and the longest such row.

    Args:
        counts: of each of its parts, the same.
    """
    row = longest = 0
    for count in counts:
        row = row + count if count else 0
        longest = max(longest, row)
    return (row if all(counts) else 0), longest


def _any_of(alternatives: list[list[_PatternPart]]) -> _PatternPart:
    parts = [_sequence(parts) for parts in alternatives]
    lengths = {part.length for part in parts}
    length = lengths.pop() if len(lengths) == 1 else None
    return _PatternPart(
        sum(part.characters for part in parts),
        sum(part.ways for part in parts),
        length,
        sum(part.optional for part in parts),
        max(part.row for part in parts),
    )


def _repeated(part: _PatternPart, token: str) -> _PatternPart:
    if token in "*+":
        row = 2 * part.row
        optional = row if part.optional else int(token == "*")
        ways = max(part.ways, ways_of_optional(row))
        return _PatternPart(part.characters * (1 + (token == "+")), ways, None, optional, max(row, optional))
    low, high = (0, 1) if token == "?" else _bounds(token)
    times = max(low, high or 1, 1)
    length = part.length * low if part.length is not None and low == high else None
    ways = part.ways
    if high is not None and high > 1 and not part.length:
        ways *= max(times, times * times // _FEW)
    optional = min(part.optional * times, _MANY)
    if part.optional:
        ways = max(ways, ways_of_optional(optional))
    elif low == 0:
        optional = 1
    row = max(part.row, optional)
    return _PatternPart(min(part.characters * times, _MANY), min(ways, _MANY), length, optional, row)


def _bounds(token: str) -> tuple[int, int | None]:
    """`{2,5}`; without an upper bound None stands for it. Engines take blanks, and more that is no digit."""
    low, comma, high = token[1:-1].partition(",")
    least = _number(low)
    if not comma:
        return least, least
    return least, _number(high) if high.strip() else None


def _number(text: str) -> int:
    digits = "".join(re.findall("[0-9]+", text))
    return int(digits or 0) if len(digits) < len(str(_MANY)) else _MANY
