"""The tools around the flag snapshots, without vLLM."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import msgspec

from engineroom_vllm import snapshots

TOOLS = Path(__file__).resolve().parents[1] / "tools"
KINDS = {"bool", "choice", "float", "int", "json", "list", "str", "suffixed_int", "switch"}


def test_snapshots_hold_only_kinds_that_are_understood() -> None:
    for version in snapshots.versions():
        snapshot = snapshots.load(version)
        assert snapshot.table.version == version
        assert {flag.kind for flag in snapshot.all_flags.flags} <= KINDS
        assert len(snapshot.all_flags.flags) > 300
        assert all(flag.negative for flag in snapshot.all_flags.flags if flag.kind == "bool")


def test_drift_tells_what_changed() -> None:
    differences = runpy.run_path(str(TOOLS / "drift.py"))["differences"]
    old = {"flags": [{"name": "a", "kind": "int"}, {"name": "b", "kind": "str"}], "environ": ["X"]}
    new = {"flags": [{"name": "b", "kind": "choice"}, {"name": "c", "kind": "int"}], "environ": []}
    told = [" ".join(line.split()) for line in differences(old, new)]
    assert told == ["a gone", "b kind: str -> choice", "c new: int", "X environment variable gone"]
    assert list(differences(old, msgspec.json.decode(msgspec.json.encode(old)))) == []


def test_the_page_of_settings_is_fresh() -> None:
    done = subprocess.run([sys.executable, str(TOOLS / "write_docs.py"), "--check"], timeout=60, check=False)
    assert done.returncode == 0, "run engines/vllm/tools/write_docs.py"
