"""Tokens' logprobs in the two shapes of OpenAI's API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .tokens import Token

_VERY_UNLIKELY = -9999.0
"""What the API says for a token whose logprob is not known."""


def _shown(data: bytes) -> str:
    """A token's text; the bytes of a character that is split over tokens as `\\xf0`."""
    return data.decode("utf-8", "backslashreplace")


def _entry(data: bytes, logprob: float | None) -> dict[str, Any]:
    return {
        "token": _shown(data),
        "logprob": _VERY_UNLIKELY if logprob is None else logprob,
        "bytes": list(data),
    }


def chat(tokens: Sequence[tuple[Token, int]]) -> list[dict[str, Any]]:
    """`logprobs.content` of a chat completion."""
    return [
        {**_entry(token.data, token.logprob), "top_logprobs": [_entry(*alternative) for alternative in token.top]}
        for token, _ in tokens
    ]


def completion(tokens: Sequence[tuple[Token, int]], offset: int) -> dict[str, Any]:
    """`logprobs` of a completion; `offset` is where the completion begins in the text (after an echoed prompt)."""
    return {
        "tokens": [_shown(token.data) for token, _ in tokens],
        "token_logprobs": [_VERY_UNLIKELY if t.logprob is None else t.logprob for t, _ in tokens],
        "top_logprobs": [
            {
                _shown(token.data): _VERY_UNLIKELY if token.logprob is None else token.logprob,
                **{_shown(data): logprob for data, logprob in token.top},
            }
            for token, _ in tokens
        ],
        "text_offset": [offset + start for _, start in tokens],
    }
