"""A door whose libraries are missing says what to install."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

WITHOUT = """
import sys
sys.modules[sys.argv.pop(1)] = None
from engineroom.cli import main
main()
"""


@pytest.mark.parametrize(
    ("module", "command", "extra"),
    [("uvicorn", "serve", "http"), ("runpod", "runpod", "runpod"), ("uvicorn", "emulate", "emulator")],
)
def test_a_missing_library_is_named_with_its_extra(module: str, command: str, extra: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, module, command],
        env={**os.environ, "ENGINE": "echo", "RUNPOD_WEBHOOK_GET_JOB": "http://127.0.0.1:1/take"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert f"not installed: {module}, which this command needs; to install: `" in done.stderr
    assert f"workers[{extra}]" in done.stderr
    assert "Traceback" not in done.stderr
