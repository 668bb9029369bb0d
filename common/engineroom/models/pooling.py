"""How an encoder's states become one vector, as the files of sentence-transformers beside its weights say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from ..errors import EngineStartError
from .formats import generates

_MODES = {"mean", "cls", "lasttoken"}
_MODULES = {"Transformer", "Pooling", "Normalize"}


def pooling(folder: Path, architectures: Iterable[str]) -> str | None:
    """`mean`, `cls` or `lasttoken`, after which the vector has length 1; None for a model that generates text.

    Args:
        folder: with the model's weights.
        architectures: those of its configuration. A model that generates nothing, and says no more, is `mean`.

    Raises:
        EngineStartError: it makes its vectors in another way, which no engine here has.
    """
    file = folder / "1_Pooling" / "config.json"
    if not file.is_file():
        names = list(architectures)
        return "mean" if names and not generates(names) else None
    # Older files have a switch for each mode (`pooling_mode_cls_token: true`), newer ones one name.
    entries = json.loads(file.read_bytes()).items()
    modes = [str(value if isinstance(value, str) else key) for key, value in entries if "pooling_mode" in key and value]
    modes = [re.sub(r"^pooling_mode_|_tokens?$", "", mode) for mode in modes] or ["mean"]
    listed = folder / "modules.json"
    modules = json.loads(listed.read_bytes()) if listed.is_file() else []
    needed = {*modes, *(module["type"].rpartition(".")[2] for module in modules)}
    missing = needed - _MODES - _MODULES
    if missing:
        raise EngineStartError(f"its vectors need {' and '.join(sorted(missing))}, which this engine does not support")
    if len(modes) > 1:
        raise EngineStartError(f"its vectors are {' and '.join(modes)} pooling combined; this engine supports one")
    return modes[0]
