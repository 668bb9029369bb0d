"""Why FastDeploy ended: its workers' log files tell, the server's own output seldom does, its exit code (0) never."""

from __future__ import annotations

from pathlib import Path

from engineroom.process import LogFormat
from engineroom.server import LIBRARY_CAUSES, Cause, Diagnostics

_FILES = ("fastdeploy.log", "launch_worker.log", "workerlog.*")
"""Those that say why a start failed, the most telling last."""

_CAUSES = (
    Cause(
        r"Out of memory error on GPU (?P<gpu>\d+)\. Cannot allocate (?P<size>[\d.]+\s?\w+) memory[^\n]*?"
        r"(?P<taken>[\d.]+\s?\w+) memory has been allocated",
        "GPU {gpu} is too small: {size} more were needed, and {taken} are taken. Lower MAX_MODEL_LEN, MAX_NUM_SEQS or "
        "GPU_MEMORY_UTILIZATION, choose a QUANTIZATION, or take a larger GPU",
    ),
    Cause(
        r"Out of memory error on GPU (?P<gpu>\d+)|CUDA error\(2\)",
        "the GPU's memory is too small for MODEL_NAME={MODEL_NAME}: lower MAX_MODEL_LEN, MAX_NUM_SEQS or "
        "GPU_MEMORY_UTILIZATION, choose a QUANTIZATION, or take a larger GPU",
    ),
    Cause(
        r"The \w+ of (?P<model>\S+) is not exist",
        "the hub that FastDeploy asked has no {model}: check MODEL_NAME and REVISION",
    ),
    *LIBRARY_CAUSES,
)

DIAGNOSTICS = Diagnostics(
    LogFormat(
        (
            r"(?P<source>(?:fastdeploy|launch_worker|workerlog)[\w.]*): ",
            r"(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL) +(?:\d{4}-\d\d-\d\d [\d:,]+ +\d+ +)?"
            r"(?P<source>[\w.]+(?:\[line:\d+\])?)(?::| ) *",
            r"(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL) ",
        )
    ),
    _CAUSES,
    second_hand=r"Failed to launch worker processes|start failed|worker process is dead|failed to start",
)
"""`ERROR    2025-08-01 13:47:52,704 3233322 engine.py[line:206] ` is how FastDeploy begins its lines; those of files
have the file's name before them."""


def of_workers(folder: Path, lines: int = 100) -> list[str]:
    """The last lines of each file, with its name before them."""
    last_lines = []
    for path in (path for pattern in _FILES for path in sorted(folder.glob(pattern))):
        text = path.read_bytes()[-65536:].decode("utf-8", "replace")
        last_lines += [f"{path.name}: {line}" for line in text.splitlines()[-lines:] if line.strip()]
    return last_lines
