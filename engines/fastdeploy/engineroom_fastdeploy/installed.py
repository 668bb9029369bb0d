"""What is installed in FastDeploy's Python, read from metadata: nothing of it is imported."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from engineroom.settings import FlagTable

FASTDEPLOY = ("fastdeploy-gpu", "fastdeploy-xpu", "fastdeploy")
PADDLE = ("paddlepaddle-gpu", "paddlepaddle-xpu", "paddlepaddle")
SNAPSHOTS = Path(__file__).with_name("flags")

_PROBE = """
import importlib.metadata as metadata, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Installation:
    """A Python, and the versions of FastDeploy and Paddle that it has; None where it has none."""

    python: str
    fastdeploy: str | None
    paddle: str | None


def find(python: str | None) -> Installation:
    """What that Python has; where None is given, the first one that has FastDeploy: this one, or the system's."""
    candidates = [python] if python else [sys.executable, shutil.which("python3") or "python3", "/usr/bin/python3"]
    found = [_ask(candidate) for candidate in dict.fromkeys(candidates)]
    return next((installation for installation in found if installation.fastdeploy), found[-1])


def _ask(python: str) -> Installation:
    try:
        told = subprocess.run([python, "-c", _PROBE, *FASTDEPLOY, *PADDLE], capture_output=True, timeout=10, check=True)
        versions = json.loads(told.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        versions = {}
    fastdeploy, paddle = ([versions[name] for name in names if name in versions] for names in (FASTDEPLOY, PADDLE))
    return Installation(python, fastdeploy[0] if fastdeploy else None, paddle[0] if paddle else None)


def minor(version: str) -> tuple[int, int]:
    """`2.5.0` -> (2, 5). Raises ValueError where it is no version."""
    major, _, rest = version.partition(".")
    return int(major), int(rest.partition(".")[0])


def snapshots() -> dict[tuple[int, int], FlagTable]:
    """The flags of every supported version, oldest first."""
    return dict(sorted((minor(path.stem), FlagTable.load(path)) for path in SNAPSHOTS.glob("*.json")))
