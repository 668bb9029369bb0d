"""Why FastDeploy ended: its workers' log files tell, the server's own output seldom does, its exit code (0) never."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from engineroom.process import LogFormat
from engineroom.server import LIBRARY_CAUSES, Cause, Diagnostics

_FILES = ("fastdeploy.log", "launch_worker.log", "workerlog.*")
"""Those that say why a start failed, the most telling last."""


def _out_of_range(match: re.Match[str], _: Mapping[str, str]) -> str:
    """One of its assertions on two settings, e.g. `a: 8 should be larger than or equal to b: 64`."""
    limit = re.sub(r"(\w+): (\d+)", lambda each: f"{each[1].upper()}={each[2]}", match["limit"])
    relation = "more" if match["relation"] == "larger" else "less"
    at_least = "at least" if match["relation"] == "larger" else "at most"
    wanted = f"{at_least} {limit}" if match["equal"] else f"{relation} than {limit}"
    return f"{match['name'].upper()}={match['value']} must be {wanted}"


_CAUSES = (
    Cause(
        r"Out of memory error on GPU (?P<gpu>\d+)\. Cannot allocate (?P<size>\d+)\.?\d*(?P<unit>\w+) memory[^\n]*?"
        r"(?P<taken>\d+\.\d)\d*(?P<unit_taken>\w+) memory has been allocated",
        "GPU {gpu} is too small: {size} {unit} more were needed, and {taken} {unit_taken} are taken. Lower "
        "MAX_MODEL_LEN, MAX_NUM_SEQS or "
        "GPU_MEMORY_UTILIZATION, choose a QUANTIZATION, or take a larger GPU",
    ),
    Cause(
        r"Out of memory error on GPU (?P<gpu>\d+)|CUDA error\(2\)",
        "the GPU's memory is too small for MODEL_NAME={MODEL_NAME}: lower MAX_MODEL_LEN, MAX_NUM_SEQS or "
        "GPU_MEMORY_UTILIZATION, choose a QUANTIZATION, or take a larger GPU",
    ),
    Cause(
        r"CUDA error\((?P<code>\d+)\), (?P<what>[^\n.]+)",
        "the GPU broke off (CUDA error {code}, {what}): this build may not fit the GPU or its driver; try the "
        "official image",
    ),
    Cause(
        r"The parameter `(?P<name>\w+)` is not allowed to exceed (?P<limit>\d+), but now it's (?P<value>\d+)",
        lambda match, _: (
            f"{match['name'].upper()}={match['value']} is more than FastDeploy's limit of {match['limit']}: lower it"
        ),
    ),
    Cause(
        r"(?P<name>[a-z_]+): (?P<value>\d+) should be (?P<relation>larger|less) than(?P<equal> or equal to)? "
        r"(?P<limit>[^\n]+)",
        _out_of_range,
    ),
    Cause(
        r"Parameter `(?P<name>\w+)`:(?P<port>\d+) is already in use",
        "FastDeploy's port {port} ({name}) was taken by another program: end that program, or start again",
    ),
    Cause(
        r"Only support \[(?P<choices>[^\]]+)\] guided decoding backend, but got (?P<value>\w+)",
        "GUIDED_DECODING_BACKEND={value} is none of FastDeploy's: {choices}",
    ),
    Cause(
        r"import XGrammar failed",
        "GUIDED_DECODING_BACKEND={GUIDED_DECODING_BACKEND} needs the package xgrammar in FastDeploy's Python: "
        "install it, "
        "or leave GUIDED_DECODING_BACKEND out",
    ),
    Cause(
        r"speculative decoding currently do not support guided_decoding",
        "SPECULATIVE_CONFIG and GUIDED_DECODING_BACKEND={GUIDED_DECODING_BACKEND} do not go together: leave one of "
        "them out",
    ),
    Cause(
        r"not support (?P<name>\w+): '(?P<value>[^']*)'\. Must be one of: (?P<choices>[^\n]+)",
        lambda match, _: f"{match['name'].upper()}={match['value']} must be one of {match['choices']}",
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
