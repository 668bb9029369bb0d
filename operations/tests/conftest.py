"""What several parts of operations are tested against."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from server_process import process_groups, until

from engineroom_workers.testing import COMMAND


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A queue endpoint in the emulator with one worker, which echoes: its URL, `http://127.0.0.1:…/v2/emulated`."""
    log = tmp_path_factory.mktemp("emulator") / "log"
    environ = {**os.environ, "ENGINE": "echo", "ECHO_TTFT_MS": "20", "ECHO_TOKENS_PER_S": "500"}
    command = [COMMAND, "emulate", "--port", "0", "--", COMMAND, "runpod"]
    with process_groups() as start, log.open("wb") as file:
        start(command, env=environ, stdout=file, stderr=subprocess.STDOUT)
        until(lambda: _url(log))
        url = _url(log)
        until(lambda: httpx.get(f"{url}/health", timeout=10).json()["workers"]["idle"] == 1)
        yield url


def _url(log: Path) -> str:
    match = re.search(r"http://127\.0\.0\.1:\d+/v2/emulated(?=\s|$)", re.sub(r"\x1b\[[0-9;]*m", "", log.read_text()))
    return match[0] if match else ""
