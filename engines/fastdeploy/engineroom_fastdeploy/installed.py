"""What is installed in FastDeploy's Python, read from metadata: nothing of it is imported."""

from __future__ import annotations

from pathlib import Path

from engineroom.server import EnginePython, find_python
from engineroom.settings import FlagTable

FASTDEPLOY = ("fastdeploy-gpu", "fastdeploy-xpu", "fastdeploy")
PADDLE = ("paddlepaddle-gpu", "paddlepaddle-xpu", "paddlepaddle")
SNAPSHOTS = Path(__file__).with_name("flags")


def find(python: str | None) -> EnginePython:
    """The Python that has FastDeploy, with its version and Paddle's: the one given, else the first that there is."""
    return find_python(FASTDEPLOY, python, beside=PADDLE)


def minor(version: str) -> tuple[int, int]:
    """`2.5.0` -> (2, 5). Raises ValueError where it is no version."""
    major, _, rest = version.partition(".")
    return int(major), int(rest.partition(".")[0])


def snapshots() -> dict[tuple[int, int], FlagTable]:
    """The flags of every supported version, oldest first."""
    return dict(sorted((minor(path.stem), FlagTable.load(path)) for path in SNAPSHOTS.glob("*.json")))
