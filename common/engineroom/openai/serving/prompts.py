"""Prompts as clients may give them: a text, texts, token ids, or lists of token ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..validation import invalid

if TYPE_CHECKING:
    from .tokens import TokenSource


def as_tokens(
    engine: TokenSource, param: str, prompt: str | Sequence[str | int | Sequence[int]]
) -> list[Sequence[int]]:
    """The token ids of each prompt.

    Args:
        param: the field that holds them, for the errors.

    Raises:
        APIError: where the elements are of several kinds, or a list of token ids is empty or out of the vocabulary.
    """
    if isinstance(prompt, str):
        return [engine.tokenize(prompt)]
    if all(isinstance(element, int) for element in prompt):
        return [check_ids([element for element in prompt if isinstance(element, int)], engine.vocabulary_size, param)]
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
        if isinstance(element, str):
            prompts.append(engine.tokenize(element))
        else:
            prompts.append(check_ids(element, engine.vocabulary_size, f"{param}.{number}"))
    return prompts


def check_ids(ids: Iterable[int], size: int, param: str) -> list[int]:
    """`ids`, all of them in a vocabulary of that size. Raises APIError for any other."""
    ids = list(ids)
    if any(not 0 <= token < size for token in ids):
        raise invalid(f"Invalid '{param}': token ids go from 0 to {size - 1}.", param, "invalid_value")
    return ids
