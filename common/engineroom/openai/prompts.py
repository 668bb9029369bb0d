"""Prompts as clients may give them: a text, texts, token ids, or lists of token ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .validation import invalid

if TYPE_CHECKING:
    from ..tokens import TokenEngine


def as_tokens(
    engine: TokenEngine, param: str, prompt: str | Sequence[str | int | Sequence[int]]
) -> list[Sequence[int]]:
    """The token ids of each prompt.

    Args:
        param: the field that holds them, for the errors.

    Raises:
        APIError: where the elements are of several kinds, or a list of token ids is empty.
    """
    if isinstance(prompt, str):
        return [engine.tokenize(prompt)]
    if all(isinstance(element, int) for element in prompt):
        return [[element for element in prompt if isinstance(element, int)]]
    prompts: list[Sequence[int]] = []
    for number, element in enumerate(prompt):
        if isinstance(element, int) or isinstance(element, str) is not isinstance(prompt[0], str):
            raise invalid(
                f"Invalid '{param}': its elements must all be strings, token ids, or lists of token ids.",
                f"{param}.{number}",
                "invalid_type",
            )
        if not element and not isinstance(element, str):
            raise invalid(f"Invalid '{param}.{number}': an empty list of token ids.", f"{param}.{number}")
        prompts.append(engine.tokenize(element) if isinstance(element, str) else element)
    return prompts
