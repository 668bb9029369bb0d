"""What a model's files say of it, before OpenVINO reads them."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

from engineroom.errors import EngineStartError
from engineroom.models import generates, weights

_POOLING = {"mean", "cls", "lasttoken"}
_CONTEXT = b".context_length"
_HEAD_BYTES = 1 << 16


def file_in(place: Path) -> Path:
    """What OpenVINO is given of a file or a folder: a folder itself where it has graphs, else its GGUF file."""
    files = [file for file in weights(place) if file.suffix == ".gguf"]
    return files[0] if files and not (place / "openvino_model.xml").exists() else place


def pooling(model: Path) -> str | None:
    """How an encoder's states become one vector: `mean`, `cls` or `lasttoken`; None for a model that writes text.

    Raises:
        EngineStartError: it makes its vectors in another way.
    """
    listed = model / "1_Pooling" / "config.json"
    if listed.is_file():
        entries = json.loads(listed.read_bytes()).items()
        modes = [
            str(value if isinstance(value, str) else key) for key, value in entries if "pooling_mode" in key and value
        ]
        modes = [re.sub(r"^pooling_mode_|_tokens?$", "", mode) for mode in modes]
        if len(modes) == 1 and modes[0] in _POOLING:
            return modes[0]
        raise EngineStartError(f"its vectors are {' and '.join(modes)} pooling; this engine has {', '.join(_POOLING)}")
    names = _config(model).get("architectures") or []
    return "mean" if names and not generates(names) else None


def context(model: Path) -> int | None:
    """Tokens that a model is made for, as its header or its configuration says."""
    if model.is_dir():
        config = _config(model)
        return int(config.get("text_config", config).get("max_position_embeddings") or 0) or None
    with model.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    at = head.find(_CONTEXT)
    # Behind the key stand the value's type, of which 4 is an unsigned integer of 32 bits, and the value.
    kind, value = struct.unpack_from("<II", head, at + len(_CONTEXT)) if at > 0 else (0, 0)
    return int(value) if kind == 4 else None


def _config(model: Path) -> dict[str, Any]:
    file = model / "config.json"
    return dict(json.loads(file.read_bytes())) if file.is_file() else {}
