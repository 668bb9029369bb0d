"""A LoRA adapter for SmolLM2-135M as a GGUF file, small and of no sense: enough to see whether it is applied.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import struct
from pathlib import Path

_WIDTH = 576
_STRING, _FLOAT = 8, 6
_ALIGNMENT = 32


def write(path: Path, weight: float = 5.0) -> Path:
    """Rank 1, on the first layer's query: every output is shifted by the sum of the inputs.

    Args:
        weight: each of its numbers; adapters with different ones change the answers differently.
    """
    entries = [
        _string("general.type") + struct.pack("<I", _STRING) + _string("adapter"),
        _string("general.architecture") + struct.pack("<I", _STRING) + _string("llama"),
        _string("adapter.type") + struct.pack("<I", _STRING) + _string("lora"),
        _string("adapter.lora.alpha") + struct.pack("<If", _FLOAT, 64.0),
    ]
    data = struct.pack(f"<{_WIDTH}f", *[weight] * _WIDTH)
    tensors = b"".join(
        _string(f"blk.0.attn_q.weight.{name}") + struct.pack("<IQQIQ", 2, *shape, 0, at)
        for name, shape, at in (("lora_a", (_WIDTH, 1), 0), ("lora_b", (1, _WIDTH), len(data)))
    )
    head = b"GGUF" + struct.pack("<IQQ", 3, 2, len(entries)) + b"".join(entries) + tensors
    path.write_bytes(head + bytes(-len(head) % _ALIGNMENT) + data + data)
    return path


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()
