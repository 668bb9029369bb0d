"""What a model's files say of it, before OpenVINO reads them."""

from __future__ import annotations

import struct
from pathlib import Path

from engineroom.models import model_config, weights

_CONTEXT = b".context_length"
_HEAD_BYTES = 1 << 16


def file_in(place: Path) -> Path:
    """What OpenVINO is given of a file or a folder: a folder itself where it has graphs, else its GGUF file."""
    files = [file for file in weights(place) if file.suffix == ".gguf"]
    return files[0] if files and not (place / "openvino_model.xml").exists() else place


def context(model: Path) -> int | None:
    """Tokens that a model is made for, as its header or its configuration says."""
    if model.is_dir():
        own = model_config(model)
        return int(own.get("text_config", own).get("max_position_embeddings") or 0) or None
    with model.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    at = head.find(_CONTEXT)
    # Behind the key stand the value's type, of which 4 is an unsigned integer of 32 bits, and the value.
    kind, value = struct.unpack_from("<II", head, at + len(_CONTEXT)) if at > 0 else (0, 0)
    return int(value) if kind == 4 else None
