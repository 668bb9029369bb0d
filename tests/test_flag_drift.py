"""The comparison of flag snapshots that every engine's `make drift` uses."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

TOOL = runpy.run_path(str(Path(__file__).parents[1] / "tools" / "flag_drift.py"))
OLD: dict[str, Any] = {
    "version": "1.0",
    "flags": [{"name": "a", "kind": "int"}, {"name": "b", "kind": "str"}],
    "environ": ["X"],
}
NEW: dict[str, Any] = {
    "version": "1.0",
    "flags": [{"name": "b", "kind": "choice"}, {"name": "c", "kind": "int"}],
    "environ": [],
}


def test_what_changed_is_told_a_line_each() -> None:
    changes = [" ".join(line.split()) for line in TOOL["differences"](OLD, NEW)]
    assert changes == ["a gone", "b kind: str -> choice", "c new: int", "X environment variable gone"]
    assert list(TOOL["differences"](OLD, json.loads(json.dumps(OLD)))) == []


def test_a_snapshot_is_missed_written_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check = TOOL["check"]
    assert check("Engine", tmp_path, json.dumps(OLD), write=False)
    assert "Engine 1.0 has no snapshot" in capsys.readouterr().out
    assert not check("Engine", tmp_path, json.dumps(OLD), write=True)
    assert not check("Engine", tmp_path, json.dumps(OLD), write=False)
    assert check("Engine", tmp_path, json.dumps(NEW), write=False)
    assert "4 differ from the snapshot" in capsys.readouterr().out
