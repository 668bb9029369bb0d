"""What is asked: prompts of stated lengths, made of common words; chats over a shared prefix; a file's own requests."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..load.sender import Ask, Surface
from .lengths import Lengths

_WORDS = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "is",
    "that",
    "for",
    "it",
    "was",
    "on",
    "are",
    "as",
    "with",
    "his",
    "they",
    "be",
    "at",
    "one",
    "have",
    "this",
    "from",
    "or",
    "had",
    "by",
    "hot",
    "word",
    "but",
    "what",
    "some",
    "we",
    "can",
    "out",
    "other",
    "were",
    "all",
    "there",
    "when",
    "up",
    "use",
    "your",
    "how",
    "said",
    "an",
    "each",
    "she",
    "which",
    "do",
    "their",
    "time",
    "if",
    "will",
    "way",
    "about",
    "many",
    "then",
    "them",
    "write",
    "would",
    "like",
    "so",
    "these",
    "her",
    "long",
    "make",
    "thing",
    "see",
    "him",
    "two",
    "has",
    "look",
    "more",
    "day",
    "could",
    "go",
    "come",
    "did",
    "number",
    "sound",
    "no",
    "most",
    "people",
    "my",
    "over",
    "know",
    "water",
    "than",
    "call",
    "first",
    "who",
    "may",
    "down",
    "side",
    "been",
    "now",
    "find",
    "any",
    "new",
    "work",
    "part",
    "take",
    "get",
    "place",
    "made",
    "live",
    "where",
    "after",
    "back",
    "little",
    "only",
    "round",
    "man",
    "year",
    "came",
    "show",
    "every",
    "good",
    "me",
    "give",
    "our",
    "under",
    "name",
    "very",
    "through",
]
"""Short common words, each of which is one token to nearly every tokeniser."""

_TEXT_WORDS = 65_536
_NUMERAL_WORDS = 4


class Scenario(NamedTuple):
    """Requests of one kind.

    prefix: tokens of a beginning that all prompts share, as a system prompt is.
    turns: messages of the user in a conversation, whose history is in the request.
    """

    name: str
    summary: str
    input: Lengths
    output: Lengths
    prefix: int = 0
    turns: int = 1


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("short", "a question and a short answer", Lengths("fixed", 16), Lengths("fixed", 64)),
        Scenario("medium", "a page in, a page out", Lengths("fixed", 256), Lengths("fixed", 256)),
        Scenario("long", "a document and a summary", Lengths("fixed", 2048), Lengths("fixed", 512)),
        Scenario(
            "chat",
            "conversations that share a system prompt, as a cache of prefixes likes them",
            Lengths("uniform", 16, 96),
            Lengths("fixed", 128),
            prefix=512,
            turns=4,
        ),
        Scenario(
            "sharegpt-like",
            "lengths that vary as in people's conversations; made up, no data set",
            Lengths("lognormal", 90, 1.3, 4096),
            Lengths("lognormal", 160, 1.0, 2048),
        ),
    )
}


class Words(NamedTuple):
    """How many words make a prompt of so many tokens, as a server counts them.

    fixed: tokens of a prompt without words, as those of a chat template.
    per_word: tokens a word.
    """

    fixed: float = 0
    per_word: float = 1

    def count(self, tokens: int) -> int:
        return max(1, round((tokens - self.fixed) / self.per_word))


WORDS_AS_TOKENS = Words()
"""A token a word, where the server does not say how it counts."""


class Prompts:
    """Makes a scenario's requests, the same ones for the same seed.

    Each prompt begins differently, so that no server has it in its cache, but for a prefix that the scenario shares.

    Args:
        fields: of every request, e.g. `temperature`.
        output_field: the name of the field that limits the answer.
    """

    def __init__(
        self,
        scenario: Scenario,
        surface: Surface,
        seed: int,
        words: Words = WORDS_AS_TOKENS,
        fields: Mapping[str, Any] | None = None,
        output_field: str = "max_tokens",
    ) -> None:
        self._scenario = scenario
        self._surface = surface
        self._words = words
        self._fields = dict(fields or {})
        self._output_field = output_field
        self._chance = random.Random(seed)
        chosen = self._chance.choices(_WORDS, k=_TEXT_WORDS)
        self._starts = list(itertools.accumulate((len(word) + 1 for word in chosen), initial=0))
        self._text = " ".join(chosen) + " "
        self._prefix = self._plain(words.count(scenario.prefix), 0) if scenario.prefix else ""

    def asks(self, first: int = 0) -> Iterator[Ask]:
        """Requests without end. first: the number of the first; prompts of different numbers begin differently."""
        for number in itertools.count(first):
            yield self.ask(number)

    def ask(self, number: int, output_tokens: int | None = None) -> Ask:
        """One request. output_tokens: in place of the scenario's."""
        scenario = self._scenario
        length = scenario.input.draw(self._chance)
        body = dict(self._fields)
        if self._surface == "embeddings":
            return Ask("embeddings", {**body, "input": self.text(length, number)})
        body[self._output_field] = output_tokens or scenario.output.draw(self._chance)
        if self._surface == "completions":
            parts = [self._prefix, self.text(length, number)] if self._prefix else [self.text(length, number)]
            return Ask("completions", {**body, "prompt": " ".join(parts)})
        return Ask("chat", {**body, "messages": self._messages(length, number)})

    def text(self, tokens: int, number: int) -> str:
        """A text of so many tokens, whose first words are the number's."""
        words = self._words.count(tokens)
        start = self._chance.randrange(_TEXT_WORDS)
        return f"{' '.join(_numeral(number)[:words])} {self._plain(words - _NUMERAL_WORDS, start)}".rstrip()

    def _messages(self, length: int, number: int) -> list[dict[str, str]]:
        messages = [{"role": "system", "content": self._prefix}] if self._prefix else []
        for _ in range(self._chance.randint(1, self._scenario.turns) - 1):
            messages.append({"role": "user", "content": self.text(length, number)})
            messages.append({"role": "assistant", "content": self.text(length, number)})
        messages.append({"role": "user", "content": self.text(length, number)})
        return messages

    def _plain(self, words: int, start: int) -> str:
        """So many words of the text from a word on; the text goes round."""
        parts = []
        while words > 0:
            end = min(_TEXT_WORDS, start + words)
            parts.append(self._text[self._starts[start] : self._starts[end]])
            words -= end - start
            start = 0
        return "".join(parts).rstrip()


def _numeral(number: int) -> list[str]:
    """A number as words, which cost a token each where digits would cost more."""
    words = []
    for _ in range(_NUMERAL_WORDS):
        number, position = divmod(number, len(_WORDS))
        words.append(_WORDS[position])
    return words


def from_file(path: Path, surface: Surface, fields: Mapping[str, Any], output_field: str) -> list[Ask]:
    """The requests of a JSONL file: a line is a request's body, or has `prompt` and maybe `output_tokens`.

    Raises:
        ValueError: a line is none of them. The text names it.
    """
    asks = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        ask = _of_line(content, surface, fields, output_field) if isinstance(content, dict) else None
        if ask is None:
            raise ValueError(
                f'{path}, line {number} is no request: write {{"prompt": "…", "output_tokens": 64}}, or a body with '
                "`messages`, `prompt` or `input`"
            )
        asks.append(ask)
    if not asks:
        raise ValueError(f"{path} has no requests in it")
    return asks


def _of_line(content: dict[str, Any], surface: Surface, fields: Mapping[str, Any], output_field: str) -> Ask | None:
    body = {**fields, **content}
    limit = body.pop("output_tokens", None)
    if limit is not None:
        body[output_field] = limit
    if isinstance(body.get("messages"), list):
        return Ask("chat", body)
    if body.get("input") is not None:
        return Ask("embeddings", body)
    if not isinstance(body.get("prompt"), (str, list)):
        return None
    if surface == "chat" and isinstance(body["prompt"], str):
        prompt = body.pop("prompt")
        return Ask("chat", {**body, "messages": [{"role": "user", "content": prompt}]})
    return Ask("completions", body)
