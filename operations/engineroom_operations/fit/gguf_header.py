"""What a GGUF file's header says, up to the tokeniser's lists.

The format is ggml's (docs/gguf.md): magic, version, counts of tensors and of fields, then the fields, all
little-endian. Writers put a model's shape before its tokeniser, whose lists alone may have megabytes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from .architecture import Architecture, CacheLayers, merged
from .errors import ModelReadingError

HEAD_BYTES = 1 << 18
"""How much of a file is enough for a model's shape, and for where the tokeniser's list begins."""

_SCALARS: Mapping[int, str] = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING = 8
_ARRAY = 9
_TOKENS = "tokenizer.ggml.tokens"


_WINDOW_PERIODS = {
    "gemma2": 2,
    "gemma3": 6,
    "gemma3n": 5,
    "gemma-embedding": 6,
    "gpt-oss": 2,
    "cohere2": 4,
    "llama4": 4,
}
"""Families of which every layer but the last of a period has a window, where the file does not say so."""

_WHOLE_CONTEXT = frozenset({"phi3", "qwen2", "llama"})
"""Families whose files may state a window that nobody uses."""


class _HeadEndedError(Exception):
    """The head ends within a field."""


class _HeaderReader:
    def __init__(self, head: bytes) -> None:
        self._head = head
        self._at = 0

    def take(self, form: str) -> Any:
        size = struct.calcsize(f"<{form}")
        if self._at + size > len(self._head):
            raise _HeadEndedError
        (value,) = struct.unpack_from(f"<{form}", self._head, self._at)
        self._at += size
        return value

    def text(self) -> str:
        length = self.take("Q")
        if self._at + length > len(self._head):
            raise _HeadEndedError
        self._at += length
        return self._head[self._at - length : self._at].decode("utf-8", "replace")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text()
        if kind in _SCALARS:
            return self.take(_SCALARS[kind])
        raise ModelReadingError(f"a GGUF header has a field of the unknown type {kind}")

    def array(self) -> tuple[int, int]:
        return self.take("I"), self.take("Q")


def read_fields(head: bytes, where: str) -> dict[str, Any]:
    """The fields of a header, as far as the head has them. Of the tokeniser's lists only the length is kept.

    Raises:
        ModelReadingError: it is no GGUF.
    """
    if not head.startswith(b"GGUF"):
        raise ModelReadingError(f"{where} is no GGUF file: it does not begin with `GGUF`")
    reader = _HeaderReader(head)
    fields: dict[str, Any] = {}
    try:
        reader.take("I")
        if reader.take("I") < 2:
            raise ModelReadingError(f"{where} has the first version of GGUF, which nothing reads any more")
        reader.take("Q")
        for _ in range(reader.take("Q")):
            key = reader.text()
            kind = reader.take("I")
            if kind != _ARRAY:
                fields[key] = reader.value(kind)
                continue
            inner, length = reader.array()
            if key == _TOKENS:
                fields["vocabulary"] = length
            fields[key] = [reader.value(inner) for _ in range(length)]
    except _HeadEndedError:
        pass
    return fields


def architecture(fields: Mapping[str, Any], where: str) -> Architecture:
    """A model's shape out of a header's fields.

    Raises:
        ModelReadingError: it lacks a field without which nothing can be said.
    """
    family = str(fields.get("general.architecture") or "")
    shape = _GgufShape(fields, family, where)
    layers = shape.number("block_count") - shape.number("nextn_predict_layers", 0)
    hidden = shape.number("embedding_length")
    heads = shape.largest("attention.head_count", 1)
    width = shape.largest("feed_forward_length", 0)
    experts = shape.number("expert_count", 0)
    active = shape.number("expert_used_count", 0)
    expert_width = shape.number("expert_feed_forward_length", width)
    dense_layers = shape.number("leading_dense_block_count", 0)
    expert_parameters = 3 * hidden * expert_width * experts * (layers - dense_layers)
    caches = _caches(shape, layers, hidden, heads)
    vocabulary = int(fields.get("vocabulary") or shape.number("vocab_size", 0))
    dense_parameters = 3 * hidden * width * (dense_layers if experts else layers)
    head = shape.number("attention.key_length", hidden // heads)
    kv_heads = shape.largest("attention.head_count_kv", heads)
    attention_parameters = layers * hidden * head * 2 * (heads + kv_heads)
    return Architecture(
        name=family or "unknown",
        layers=layers,
        hidden=hidden,
        vocabulary=vocabulary,
        context_tokens=shape.number("context_length", 0),
        attention_heads=heads,
        step_width=max(width, expert_width * active),
        caches=caches,
        parameters=vocabulary * hidden + attention_parameters + dense_parameters + expert_parameters,
        experts=experts,
        active_experts=active,
        expert_parameters=expert_parameters,
    )


class _GgufShape:
    """The fields of a model's own family; some have one number for each layer."""

    def __init__(self, fields: Mapping[str, Any], family: str, where: str) -> None:
        self._fields = fields
        self.family = family
        self._where = where

    def get(self, name: str) -> Any:
        return self._fields.get(f"{self.family}.{name}")

    def number(self, name: str, default: int | None = None) -> int:
        value = self.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return int(value)
        if default is None:
            raise ModelReadingError(f"{self._where} has no {self.family}.{name}: it is no language model that we know")
        return default

    def largest(self, name: str, default: int) -> int:
        value = self.get(name)
        return (
            max((int(each) for each in value), default=default)
            if isinstance(value, list)
            else self.number(name, default)
        )

    def each(self, name: str, layers: int, default: int) -> list[int]:
        value = self.get(name)
        if isinstance(value, list):
            return [int(entry) for entry in value[:layers]]
        return [self.number(name, default)] * layers


def _caches(shape: _GgufShape, layers: int, hidden: int, heads: int) -> tuple[CacheLayers, ...]:
    if shape.get("attention.kv_lora_rank"):
        kept = shape.number("attention.kv_lora_rank") + shape.number("rope.dimension_count", 64)
        return (CacheLayers("latent", layers, 1, kept),)
    key = shape.number("attention.key_length", hidden // heads)
    value = shape.number("attention.value_length", key)
    window = shape.number("attention.sliding_window", 0)
    windows = _windows(shape, layers, window)
    interval = shape.number("full_attention_interval", 0)
    kv_heads = shape.each("attention.head_count_kv", layers, heads)
    state = _state(shape, hidden)
    each: list[CacheLayers] = []
    for layer in range(layers):
        recurrent = kv_heads[layer] == 0 or bool(interval and (layer + 1) % interval)
        if recurrent and state is not None:
            each.append(state)
        elif windows[layer]:
            narrow = shape.number("attention.key_length_swa", key) + shape.number("attention.value_length_swa", value)
            each.append(CacheLayers("window", 1, kv_heads[layer], narrow, window_tokens=window))
        elif kv_heads[layer]:
            each.append(CacheLayers("full", 1, kv_heads[layer], key + value))
    return merged(each)


def _windows(shape: _GgufShape, layers: int, window: int) -> list[bool]:
    """Which layers have a sliding window. A number stands for the period in which the last one has none; without it,
    engines know it by the family."""
    pattern = shape.get("attention.sliding_window_pattern")
    if not window:
        return [False] * layers
    if isinstance(pattern, list):
        return [bool(entry) for entry in pattern[:layers]]
    period = int(pattern or _WINDOW_PERIODS.get(shape.family, 0))
    if period > 1:
        return [bool((layer + 1) % period) for layer in range(layers)]
    return [shape.family not in _WHOLE_CONTEXT] * layers


def _state(shape: _GgufShape, hidden: int) -> CacheLayers | None:
    """The state of a recurrent layer; engines for GGUF keep it in 32 bits."""
    inner = shape.number("ssm.inner_size", 0)
    if inner:
        size = shape.number("ssm.state_size", 128)
        kernel = shape.number("ssm.conv_kernel", 4)
        groups = shape.number("ssm.group_count", 0)
        values = inner * size + (inner + 2 * groups * size) * (kernel - 1)
        return CacheLayers("state", 1, 1, values, bytes_per_value=4)
    if shape.get("shortconv.l_cache"):
        return CacheLayers("state", 1, 1, hidden * (shape.number("shortconv.l_cache") - 1), bytes_per_value=4)
    return None
