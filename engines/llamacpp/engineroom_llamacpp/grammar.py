"""In how many ways at one time an answer can follow a grammar of llama.cpp's (GBNF).

llama.cpp keeps a stack for every way that the text so far can be read in, and tries each of them with each token of the
vocabulary, in the thread that serves everybody. Most grammars have a few ways. Others have thousands where a line of
text repeats a choice, or double them with every character: `root ::= "x" root "y" | "x" root "z"`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

from engineroom.openai.pattern_size import optional_parts, ways_of_optional

_TOKEN = re.compile(
    r"""\s+ | \#[^\r\n]* | ::= | [a-zA-Z0-9-]+ | [|()*+?.]
    | "(?:\\.|[^"\\])*" | \[(?:\\.|[^\]\\])*\] | \{(?:\#[^\r\n]*|[^}\#])*\} | !?<[^>]*>""",
    re.VERBOSE | re.DOTALL,
)
_FEW = 8
"""See `engineroom.openai.pattern_size`, which counts regular expressions alike."""
_COMPARED = 16
_MANY = 10**9
_HOPS = 8
"""Rules that are followed, one after another, to see what one begins with."""
_DEEPEST = 100
"""Groups and rules within each other that are followed; more are too many."""

_Tokens: TypeAlias = Sequence[str]


class _GrammarPart(NamedTuple):
    """What a part of a grammar is.

    ways: at one time, at most. length: of the texts that it matches, None where they differ. first: the characters
    that they begin with, None for any. empty: whether an empty text is among them. open: the rules that it leads back
    to. tail: those of them that it may end with. optional: parts in a row that it is, each of which may be left out.
    row: the most of those anywhere in it.
    """

    ways: float = 1
    length: int | None = 1
    first: frozenset[str] | None = None
    empty: bool = False
    open: frozenset[str] = frozenset()
    tail: frozenset[str] = frozenset()
    optional: int = 0
    row: int = 0


_NOTHING = _GrammarPart(length=0, first=frozenset(), empty=True)


def count_ways(grammar: str) -> float:
    """The most ways, infinite where they multiply with the length of the answer; it errs to the high side.

    What is malformed is passed over: llama.cpp refuses it itself.
    """
    return _Reader(grammar).rule("root").ways


class _Reader:
    def __init__(self, grammar: str) -> None:
        tokens = [token for token in _TOKEN.findall(grammar) if token[0] not in "#\r\n\t " and not token.isspace()]
        starts = [at - 1 for at, token in enumerate(tokens) if token == "::=" and at > 0]
        ends = [*starts[1:], len(tokens)]
        self._bodies = {tokens[start]: tokens[start + 2 : end] for start, end in zip(starts, ends, strict=False)}
        self._known: dict[str, _GrammarPart] = {}
        self._followed: list[str] = []
        self._repeated: set[str] = set()

    def rule(self, name: str) -> _GrammarPart:
        if name in self._followed:
            return _GrammarPart(
                length=None, first=self._first(name, _HOPS), open=frozenset({name}), tail=frozenset({name})
            )
        if name not in self._known:
            if len(self._followed) > _DEEPEST:
                return _GrammarPart(math.inf)
            self._followed.append(name)
            part = self._alternatives(iter(self._bodies.get(name, ())), depth=0)
            self._followed.remove(name)
            if name in part.tail and name in self._repeated:
                # What repeats it goes on in any of those that are not closed.
                part = part._replace(ways=math.inf)
            self._known[name] = part
        part = self._known[name]
        return part._replace(open=part.open.intersection(self._followed), tail=part.tail.intersection(self._followed))

    def _first(self, name: str, hops: int) -> frozenset[str] | None:
        """What a rule that is being followed begins with, as far as its alternatives' first tokens tell."""
        first: frozenset[str] = frozenset()
        level = 0
        begins = True
        tokens = self._bodies.get(name, ())
        for token, behind in zip(tokens, [*tokens[1:], "|"], strict=True):
            if begins:
                own: frozenset[str] | None = None
                if behind[0] not in "*?{" and token[0] in '"[':
                    own = self._single(token, iter(()), 0).first
                elif behind[0] not in "*?{" and token in self._bodies and hops:
                    own = self._first(token, hops - 1)
                if own is None:
                    return None
                first |= own
            level += (token == "(") - (token == ")")
            begins = token == "|" and level == 0
        return first or None

    def _alternatives(self, tokens: Iterator[str], depth: int) -> _GrammarPart:
        """Up to the bracket that closes the group, or the end."""
        if depth > _DEEPEST:
            return _GrammarPart(math.inf)
        branches: list[list[_GrammarPart]] = [[]]
        for token in tokens:
            if token == ")":
                break
            if token == "|":
                branches.append([])
            elif token in "*+?" or token[0] == "{":
                if branches[-1]:
                    part = branches[-1].pop()
                    if token != "?":
                        self._repeated |= part.tail
                    branches[-1].append(_repeated(part, token))
            else:
                branches[-1].append(self._single(token, tokens, depth))
        return _any_of([_sequence(parts) for parts in branches])

    def _single(self, token: str, tokens: Iterator[str], depth: int) -> _GrammarPart:
        if token == "(":
            return self._alternatives(tokens, depth + 1)
        if token[0] == '"':
            text = re.sub(r"\\(?:x..|u....|U.{8}|.)", "x", token[1:-1])
            first = frozenset(token[1]) if text and token[1] != "\\" else None
            return _GrammarPart(length=len(text), first=first) if text else _NOTHING
        if token[0] == "[":
            plain = not re.search(r"\\|-", token) and token[1:2] != "^"
            # Each character is compared with each of a class.
            ways = 1 + len(token) // _COMPARED
            return _GrammarPart(ways, first=frozenset(token[1:-1]) if plain else _range(token))
        return _GrammarPart() if token[0] in ".!<" else self.rule(token)


def _range(token: str) -> frozenset[str] | None:
    """The characters of `[a-z]` and its like; None for any other class."""
    if match := re.fullmatch(r"\[((?:[\w]-[\w]|[\w ])+)\]", token, re.ASCII):
        pairs = re.findall(r"(.)-(.)|(.)", match[1])
        return frozenset(chr(code) for low, high, one in pairs for code in range(ord(low or one), ord(high or one) + 1))
    return None


def _sequence(parts: Sequence[_GrammarPart]) -> _GrammarPart:
    if not parts:
        return _NOTHING
    varying = sum(part.ways for part in parts if part.length is None)
    ways = max(1, varying + max((part.ways for part in parts if part.length is not None), default=0))
    if any(_overlap(parts[at:]) for at in range(len(parts))):
        ways = math.inf
    optional, row = optional_parts([part.optional for part in parts])
    if row > max((part.optional for part in parts), default=0):
        ways = max(ways, ways_of_optional(row))
    lengths = [part.length for part in parts]
    first: frozenset[str] | None = frozenset()
    for part in parts:
        first = None if first is None or part.first is None else first | part.first
        if not part.empty:
            break
    return _GrammarPart(
        ways,
        None if None in lengths else sum(length or 0 for length in lengths),
        first,
        all(part.empty for part in parts),
        frozenset().union(*(part.open for part in parts)),
        _tail(parts),
        optional,
        max([row, *(part.row for part in parts)]),
    )


def _tail(parts: Sequence[_GrammarPart]) -> frozenset[str]:
    """The rules that the last part leads back to, or those before it where it may be left out."""
    tail: frozenset[str] = frozenset()
    for part in reversed(parts):
        tail |= part.tail
        if not part.empty:
            break
    return tail


def _overlap(parts: Sequence[_GrammarPart]) -> bool:
    """Whether the first part may be left out, and what leads back then begins as it does, which leads back, too."""
    if not (parts[0].empty and parts[0].open):
        return False
    for part in parts[1:]:
        if part.open and not _apart([parts[0], part]):
            return True
        if not part.empty:
            return False
    return False


def _any_of(branches: Sequence[_GrammarPart]) -> _GrammarPart:
    recursive = [branch for branch in branches if branch.open]
    lengths = {branch.length for branch in branches}
    firsts = [branch.first for branch in branches]
    return _GrammarPart(
        sum(branch.ways for branch in branches) if len(recursive) < 2 or _apart(recursive) else math.inf,
        lengths.pop() if len(lengths) == 1 else None,
        None if None in firsts else frozenset().union(*(first or () for first in firsts)),
        any(branch.empty for branch in branches),
        frozenset().union(*(branch.open for branch in branches)),
        frozenset().union(*(branch.tail for branch in branches)),
        sum(branch.optional for branch in branches),
        max(branch.row for branch in branches),
    )


def _apart(parts: Sequence[_GrammarPart]) -> bool:
    """Whether the first character tells which part it belongs to."""
    seen: set[str] = set()
    for part in parts:
        if part.first is None or part.empty or seen & part.first:
            return False
        seen |= part.first
    return True


def _repeated(part: _GrammarPart, token: str) -> _GrammarPart:
    low, high = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(token) or _bounds(token)
    ways = part.ways
    if high is not None and high > 1 and not part.length:
        ways *= max(high, high * high // _FEW)
    optional = part.optional
    row = part.row
    if high is None:
        row *= 2
        ways = max(ways, ways_of_optional(row))
        optional = row if optional else int(low == 0)
    elif optional:
        optional = min(optional * max(low, high), _MANY)
        ways = max(ways, ways_of_optional(optional))
    elif low == 0:
        optional = 1
    row = max(row, optional)
    if math.isfinite(ways):
        ways = min(ways, _MANY)
    length = part.length * low if part.length is not None and low == high else None
    return part._replace(ways=ways, length=length, empty=part.empty or low == 0, optional=optional, row=row)


def _bounds(token: str) -> tuple[int, int | None]:
    low, comma, high = re.sub(r"#[^\r\n]*", "", token[1:-1]).partition(",")
    least = _number(low)
    if not comma:
        return least, least
    return least, _number(high) if high.strip() else None


def _number(digits: str) -> int:
    digits = digits.strip()
    return int(digits or 0) if len(digits) < 10 else _MANY
