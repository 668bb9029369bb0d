"""The helper that docs/runpod.md gives to clients, as it stands on the page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "runpod.md"


def each_once() -> Callable[[Iterable[Any]], Iterable[tuple[str, Any]]]:
    """What leaves out the parts of a stream that came twice."""
    (code,) = re.findall(r"```python\n(def each_once.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    helper: Callable[[Iterable[Any]], Iterable[tuple[str, Any]]] = names["each_once"]
    return helper
