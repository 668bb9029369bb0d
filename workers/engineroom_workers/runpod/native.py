"""The two shapes of a native job's output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from engineroom.jobs import Delta, OutputFormat

Shape: TypeAlias = Callable[[Sequence[Delta], bool], dict[str, Any]]
"""Makes an item of deltas. The flag says that they are a whole response, whose texts are to be put together."""

_CHARACTERS = 150_000
"""Of text in an item, at most: below 1 MB however much JSON makes of a character."""


def shape(output_format: OutputFormat, model: str) -> Shape:
    """What makes the items of one job. It counts the job's tokens, so each job has its own."""
    return ChoicesOutput() if output_format == "choices" else TextOutput(model)


class ChoicesOutput:
    """`{"choices": [{"tokens": [text, …]}, …], "usage": {"input": n, "output": n}}`, as RunPod's own LLM
    worker had it up to 2.23.

    The usage is that of the whole job so far.
    """

    def __init__(self) -> None:
        self._prompt_tokens = 0
        self._completion_tokens = 0

    def __call__(self, deltas: Sequence[Delta], whole: bool) -> dict[str, Any]:
        choices = by_choice(deltas)
        for delta in deltas:
            if delta.usage is None:
                self._completion_tokens += delta.tokens
            else:
                self._prompt_tokens = delta.usage.prompt_tokens
                self._completion_tokens = delta.usage.completion_tokens
        texts = [[delta.text for delta in choice if delta.text] for choice in choices]
        return {
            "choices": [{"tokens": ["".join(text)] if whole else text} for text in texts],
            "usage": {"input": self._prompt_tokens, "output": self._completion_tokens},
        }


class TextOutput:
    """`{"output": [{"text": …, "finish_reason": …, "tokens": n}, …], "model": …}`.

    `tokens` counts those of the text beside it. In a stream `finish_reason` is null until a choice's last item.
    """

    def __init__(self, model: str) -> None:
        self._model = model

    def __call__(self, deltas: Sequence[Delta], whole: bool) -> dict[str, Any]:
        output = [
            {
                "text": "".join(delta.text for delta in choice),
                "finish_reason": next((delta.finish_reason for delta in choice if delta.finish_reason), None),
                "tokens": sum(delta.tokens for delta in choice),
            }
            for choice in by_choice(deltas)
        ]
        if whole and len(output) == 1 and deltas[-1].usage is not None:
            output[0]["tokens"] = deltas[-1].usage.completion_tokens
        return {"output": output, "model": self._model}


def by_choice(deltas: Sequence[Delta]) -> list[list[Delta]]:
    """The deltas of each choice; a choice that has none between others that have is empty."""
    choices: list[list[Delta]] = [[]]
    for delta in deltas:
        while delta.index >= len(choices):
            choices.append([])
        choices[delta.index].append(delta)
    return choices


def worth_an_item(deltas: Sequence[Delta]) -> bool:
    """Whether there is anything in them; a chat's first step only says who speaks."""
    return any(delta.text or delta.tokens or delta.finish_reason or delta.usage for delta in deltas)


def split_deltas(deltas: Sequence[Delta]) -> Iterator[Sequence[Delta]]:
    """The same deltas in groups whose text fits into an item each; one that is larger alone is cut."""
    if sum(len(delta.text) for delta in deltas) <= _CHARACTERS:
        yield deltas
    elif len(deltas) > 1:
        middle = len(deltas) // 2
        yield from split_deltas(deltas[:middle])
        yield from split_deltas(deltas[middle:])
    else:
        delta = deltas[0]
        yield [replace(delta, text=delta.text[:_CHARACTERS], tokens=0, finish_reason=None, usage=None)]
        yield from split_deltas([replace(delta, text=delta.text[_CHARACTERS:])])
