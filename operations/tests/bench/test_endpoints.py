"""`engineroom bench` against endpoints of RunPod, with the emulator and a real worker."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prepared_python import engineroom

FEW = ("-s", "short", "-c", "2", "-n", "4", "--warm-up", "0", "--ramp", "0", "--output-tokens", "8")


def bench(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return engineroom("bench", *arguments, environ={**os.environ, "RUNPOD_API_KEY": "", **env})


def report_of(endpoint: str, folder: Path, *arguments: str) -> dict[str, Any]:
    file = folder / "report.json"
    result = bench(endpoint, *FEW, "--json", str(file), *arguments)
    assert result.returncode == 0, result.stderr
    report: dict[str, Any] = json.loads(file.read_text())
    (stage,) = report["stages"]
    assert (stage["requests"], stage["failed"], stage["tokens_out"]) == (4, 0, 32)
    return report


def test_openais_route_with_a_price(endpoint: str, tmp_path: Path) -> None:
    report = report_of(f"{endpoint}/openai/v1", tmp_path, "--worker-price", "3.6")
    notes = " ".join(report["notes"])
    assert "Cold starts: no request" in notes
    assert "At most one worker was there" in notes
    assert "$3.60 an hour a worker, as given" in notes
    assert "too little work to say what a million tokens cost" in notes


@pytest.mark.parametrize("via", ["run", "runsync"])
def test_jobs(endpoint: str, tmp_path: Path, via: str) -> None:
    report = report_of(endpoint, tmp_path, "--via", via)
    assert set(report["stages"][0]["extra"]) == {"RunPod queue", "execution"}
    assert report["stages"][0]["ttft"]["count"] == (4 if via == "run" else 0)
    assert "--worker-price" in " ".join(report["notes"])


def test_jobs_are_for_a_queue() -> None:
    result = bench("http://127.0.0.1:1", *FEW, "--via", "run")
    assert result.returncode == 2
    assert "--via run is for a queue endpoint" in result.stderr


def test_an_endpoint_that_is_not_there_is_a_failure_with_a_reason(endpoint: str) -> None:
    result = bench(endpoint.replace("/emulated", "/other"), *FEW)
    assert result.returncode == 1
    assert "there is no endpoint 'other'" in result.stderr
    assert "Traceback" not in result.stderr
