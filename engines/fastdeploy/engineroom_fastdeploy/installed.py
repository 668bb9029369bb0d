"""What is installed in FastDeploy's Python, read from metadata: nothing of it is imported."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from engineroom.flags import FlagTable

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


def versions(python: str) -> Mapping[str, str]:
    """Distribution -> version, of FastDeploy and Paddle in that Python; empty where it cannot be run."""
    try:
        told = subprocess.run(
            [python, "-c", _PROBE, *FASTDEPLOY, *PADDLE], capture_output=True, text=True, timeout=10, check=True
        )
        return dict(json.loads(told.stdout))
    except (OSError, subprocess.SubprocessError, ValueError):
        return {}


def first(found: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    """The version of the first of these distributions that is there."""
    return next((found[name] for name in names if name in found), None)


def minor(version: str) -> tuple[int, int]:
    """`2.5.0` -> (2, 5). Raises ValueError where it is no version."""
    major, _, rest = version.partition(".")
    return int(major), int(rest.partition(".")[0])


def snapshots() -> dict[tuple[int, int], FlagTable]:
    """The flags of every supported version, oldest first."""
    return dict(sorted((minor(path.stem), FlagTable.load(path)) for path in SNAPSHOTS.glob("*.json")))
