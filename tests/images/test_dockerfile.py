"""The Dockerfiles, linted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from programs import need

from .conftest import ROOT

HADOLINT = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}") or "hadolint"


@pytest.mark.parametrize("name", ["Dockerfile", "tests/images/standin/Dockerfile"])
def test_hadolint_has_nothing_to_say(name: str) -> None:
    need(HADOLINT, "--version")
    # The stand-in's packages are the test's own, whichever version they are.
    options = ["--ignore", "DL3006", "--ignore", "DL3013"] if name.startswith("tests/") else []
    done = subprocess.run(
        [HADOLINT, *options, str(ROOT / name)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout


def test_it_needs_nothing_that_older_builders_lack() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert "<<" not in text, "RUN heredocs"
    assert "--link" not in text


def test_a_build_without_a_stage_makes_a_worker_without_a_model() -> None:
    stages = [line.split()[-1] for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("FROM ")]
    assert stages[-1] == "worker"
