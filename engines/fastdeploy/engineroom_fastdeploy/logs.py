"""Why FastDeploy ended: its workers' log files tell, the server's own output seldom does, its exit code (0) never."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

_FILES = ("fastdeploy.log", "launch_worker.log", "workerlog.*")
"""Those that say why a start failed, the most telling last."""

_TELLING = re.compile(r"\w*(Error|Exception).*|.*(out of memory|is not exist|unrecognized arguments).*", re.IGNORECASE)


def of_workers(folder: Path, lines: int = 20) -> list[str]:
    """The last lines of each file, with its name before them."""
    last_lines = []
    for path in (path for pattern in _FILES for path in sorted(folder.glob(pattern))):
        text = path.read_bytes()[-16384:].decode("utf-8", "replace")
        last_lines += [f"{path.name}: {line}" for line in text.splitlines()[-lines:] if line.strip()]
    return last_lines


def explain(log: Sequence[str]) -> str | None:
    """The line that says why."""
    return next((line for line in reversed(log) if _TELLING.search(line)), log[-1] if log else None)
