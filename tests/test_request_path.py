"""How many of our files a reader walks through to follow one request, as `make request-path` counts them."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

TOOL = runpy.run_path(str(Path(__file__).parents[1] / "tools" / "request_path.py"))
LIMITS = {"http": 24, "runpod": 24}
"""For each door, the longest of its kinds of request. Fewer are better: a reader has to know them all."""


@pytest.mark.parametrize("door", TOOL["DOORS"])
def test_a_request_runs_through_few_files(door: str) -> None:
    for kind, lists in TOOL["paths"](door).items():
        files = lists["files"]
        assert lists["engine"], f"{kind}: the engine was not reached"
        assert len(files) <= LIMITS[door], "\n".join([f"{kind}: {len(files)} files", *files])
