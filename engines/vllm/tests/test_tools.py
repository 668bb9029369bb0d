"""The tools around the flag snapshots, without vLLM."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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


def test_the_page_of_settings_is_fresh() -> None:
    done = subprocess.run([sys.executable, str(TOOLS / "write_docs.py"), "--check"], timeout=60, check=False)
    assert done.returncode == 0, "run engines/vllm/tools/write_docs.py"
