"""A vocabulary of one and two bytes of UTF-8, so that text splits into tokens in the middle of its characters."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

_ONE_BYTE = 0x100
_END = _ONE_BYTE + 0x10000
"""Control tokens follow the bytes: the end of a message, and the beginning of one for each role."""
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_BEGIN = {role: _END + 1 + number for number, role in enumerate(_ROLES)}
_ECHOED = {_BEGIN["user"], _BEGIN["tool"], _BEGIN["function"]}

SIZE = _END + 1 + len(_ROLES)


def encode(text: str) -> list[int]:
    """The token ids of `text`: two bytes each, the last perhaps one."""
    data = text.encode("utf-8", "replace")
    pairs = [_ONE_BYTE + (data[i] << 8 | data[i + 1]) for i in range(0, len(data) - 1, 2)]
    return [*pairs, data[-1]] if len(data) % 2 else pairs


def as_bytes(token: int) -> bytes:
    """The bytes of a token id; none for a control token."""
    if token < _ONE_BYTE:
        return bytes([token])
    return (token - _ONE_BYTE).to_bytes(2, "big") if token < _END else b""


def decode(tokens: Sequence[int]) -> str:
    """The text of token ids; U+FFFD for bytes that are not UTF-8."""
    return b"".join(map(as_bytes, tokens)).decode("utf-8", "replace")


def chat_template(messages: Sequence[Mapping[str, Any]]) -> list[int]:
    """Chat messages as one prompt, that of the answer begun."""
    prompt: list[int] = []
    for message in messages:
        calls = message.get("tool_calls") or message.get("function_call")
        text = (message.get("content") or "") + (json.dumps(calls) if calls else "")
        prompt += [_BEGIN[message["role"]], *encode(text), _END]
    return [*prompt, _BEGIN["assistant"]]


def last_message(prompt: Sequence[int]) -> tuple[list[int], bool]:
    """What is to be echoed, and whether a user said it: the last message of a user, a tool or a function.

    A prompt without a chat template is a user's as a whole.
    """
    if not any(token >= _END for token in prompt):
        return list(prompt), True
    for start in range(len(prompt) - 1, -1, -1):
        if prompt[start] in _ECHOED:
            message = itertools.takewhile(lambda token: token < _END, prompt[start + 1 :])
            return list(message), prompt[start] == _BEGIN["user"]
    return [], False
