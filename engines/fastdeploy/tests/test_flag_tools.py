"""The dumper and the drift check, over a parser of the stand-in's with a flag of each kind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from engineroom.settings import FlagTable

from .conftest import STANDIN

DRIFT = Path(__file__).parents[1] / "tools" / "drift.py"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What looks like a checkout of release 2.5."""
    (tmp_path / "checkout" / ".git").mkdir(parents=True)
    (tmp_path / "checkout" / ".git" / "HEAD").write_text("ref: refs/heads/release/2.5\n")
    (tmp_path / "checkout" / "fastdeploy").symlink_to(STANDIN / "fastdeploy")
    return tmp_path / "checkout"


def drift(checkout: Path, snapshots: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DRIFT), "--python", sys.executable, str(checkout)]
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [*command, "--snapshots", str(snapshots), *arguments], capture_output=True, text=True, env=environ, timeout=60
    )


def test_a_snapshot_is_written_read_and_compared(checkout: Path, tmp_path: Path) -> None:
    assert "no snapshot" in drift(checkout, tmp_path).stdout
    assert drift(checkout, tmp_path, "--write").returncode == 0
    table = FlagTable.load(tmp_path / "2.5.json")
    assert {flag.name: flag.kind for flag in table.flags} == {
        "port": "int",
        "api_key": "list",
        "served_model_name": "str",
        "tensor_parallel_size": "int",
        "gpu_memory_utilization": "float",
        "limit_mm_per_prompt": "json",
        "logprobs_mode": "choice",
        "logits_processors": "list",
        "enable_logprob": "switch",
        "enable_mm": "switch",
        "enable_prefix_caching": "bool",
        "guided_decoding_disable_any_whitespace": "switch",
        "cache_queue_port": "str",
    }
    assert drift(checkout, tmp_path).returncode == 0


def test_drift_names_what_changed(checkout: Path, tmp_path: Path) -> None:
    drift(checkout, tmp_path, "--write")
    path = tmp_path / "2.5.json"
    table = msgspec.json.decode(path.read_bytes())
    rows = {row["name"]: row for row in table["flags"]}
    rows["port"]["default"] = "80"
    rows["use_cudagraph"] = rows.pop("enable_mm") | {"name": "use_cudagraph"}
    path.write_bytes(msgspec.json.encode({**table, "flags": list(rows.values())}))
    told = drift(checkout, tmp_path)
    assert told.returncode == 1
    lines = [" ".join(line.split()) for line in told.stdout.splitlines()]
    assert lines[1:] == ["enable_mm new: switch", "port default: 80 -> 8000", "use_cudagraph gone"]


def test_a_python_without_fastdeploy_is_said(tmp_path: Path) -> None:
    told = drift(tmp_path, tmp_path)
    assert told.returncode == 1
    assert "FASTDEPLOY_PYTHON" in told.stderr
