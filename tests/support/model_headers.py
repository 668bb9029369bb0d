"""Files of models that are no more than their headers, for whoever reads only those."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any

BYTES = {"BF16": 2, "F32": 4, "I32": 4, "F16": 2, "U8": 1, "F8_E4M3": 1}


def safetensors(tensors: Mapping[str, tuple[str, list[int]]]) -> bytes:
    """A file's header, and nothing after it: whoever reads more than the header fails."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, (kind, shape) in tensors.items():
        size = math.prod(shape) * BYTES[kind]
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text


def gguf(fields: Mapping[str, Any]) -> bytes:
    """A GGUF header with whole numbers, strings and lists of numbers, then a tokeniser, then weights of a kilobyte."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    body = b""
    for key, value in fields.items():
        body += text(key)
        if isinstance(value, str):
            body += struct.pack("<I", 8) + text(value)
        elif isinstance(value, list):
            body += struct.pack("<IIQ", 9, 5, len(value)) + struct.pack(f"<{len(value)}i", *value)
        else:
            body += struct.pack("<II", 4, value)
    tokens = [f"token {number}" for number in range(500)]
    body += text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, len(tokens)) + b"".join(map(text, tokens))
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, len(fields) + 1)
    return head + body + b"\0" * 1024
