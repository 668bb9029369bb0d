"""Deployments at RunPod by their name, with the emulator's management API and workers that it starts."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from server_process import process_groups, until

from engineroom_workers.testing import COMMAND

KEY = "rpa-test"
ENDPOINT: dict[str, Any] = {
    "name": "my-queue",
    "type": "QUEUE",
    "scaling": {"type": "QUEUE_DELAY", "queueDelay": 0.5},
    "image": "ghcr.io/someone/engineroom:0.1.0-echo-0.1.0-cpu",
    "env": {"ENGINE": "echo"},
    "gpu": {"pools": ["ADA_24"]},
    "workers": {"min": 0, "max": 1, "idleTimeout": 60},
}


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of somebody who has an account with one endpoint, without a worker yet."""
    log = tmp_path_factory.mktemp("emulator") / "log"
    with process_groups() as start, log.open("wb") as file:
        start([COMMAND, "emulate", "--port", "0", "--api-key", KEY], stdout=file, stderr=subprocess.STDOUT)
        until(lambda: _url(log))
        url = _url(log)
        headers = {"Authorization": f"Bearer {KEY}"}
        httpx.post(f"{url}/v2/serverless", json=ENDPOINT, headers=headers, timeout=30).raise_for_status()
        yield {**os.environ, "RUNPOD_API_URL": url, "RUNPOD_API_KEY": KEY}


def _url(log: Path) -> str:
    match = re.search(r"http://127\.0\.0\.1:\d+(?=/v2/)", log.read_text())
    return match[0] if match else ""


def engineroom(*arguments: str, environ: dict[str, str], text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments], env=environ, input=text, capture_output=True, text=True, timeout=120, check=False
    )


def test_an_endpoint_by_its_name(account: dict[str, str]) -> None:
    answer = engineroom("chat", "my-queue", environ=account, text="by name")
    assert (answer.returncode, answer.stdout) == (0, "by name\n"), answer.stderr
    look = engineroom("top", "--once", "--json", "--interval", "0.3", "my-queue", environ=account)
    reading = json.loads(look.stdout)
    assert reading["name"].startswith("my-queue (")
    assert reading["state"] == "up"
    (worker,) = reading["each_worker"]
    assert worker["status"] in ("IDLE", "RUNNING")
    assert worker["gpu_type_id"]
    assert KEY not in look.stdout + look.stderr + answer.stderr


def test_a_name_that_nobody_has_is_taken_for_a_model(account: dict[str, str]) -> None:
    result = engineroom("top", "--once", "my-other", environ=account)
    assert result.returncode == 2
    assert "`engineroom serve my-other`" in result.stderr


def test_a_key_that_is_refused_is_said_to_be(account: dict[str, str]) -> None:
    result = engineroom("chat", "my-queue", environ={**account, "RUNPOD_API_KEY": "rpa-wrong"}, text="hello")
    assert result.returncode == 1
    assert "RunPod refuses RUNPOD_API_KEY" in result.stderr
    assert "rpa-wrong" not in result.stderr
