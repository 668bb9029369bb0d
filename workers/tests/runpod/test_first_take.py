"""What a worker loads before it asks for its first job. Each of these names was there once, or costs a start dearly.

How long it takes is measured by `make bench-runpod ARGS=--life`.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from server_process import process_groups

from engineroom_workers.emulator.testing import RunningEmulator

ENGINEROOM = str(Path(sys.executable).with_name("engineroom"))
HEAVY = {
    "boto3",
    "cpuinfo",
    "cryptography",
    "fastapi",
    "httpx",
    "huggingface_hub",
    "limits",
    "numpy",
    "openai",
    "opentelemetry",
    "paramiko",
    "prometheus_client",
    "redis",
    "requests",
    "rich",
    "runpod.api",
    "runpod.endpoint",
    "runpod.serverless.worker",
    "starlette",
    "torch",
    "tqdm_loggable",
    "transformers",
    "urllib3",
    "uvicorn",
}


async def test_nothing_heavy_is_loaded_before_the_first_job_take(platform: RunningEmulator, tmp_path: Path) -> None:
    environ = {**os.environ, **platform.worker_environment(), "ENGINE": "echo"}
    with process_groups() as start_group, (tmp_path / "log").open("wb") as log:
        start_group([sys.executable, "-X", "importtime", ENGINEROOM, "runpod"], env=environ, stdout=log, stderr=log)
        await platform.polled()
    text = (tmp_path / "log").read_text()
    loaded = {match[1] for match in re.finditer(r"^import time:.*\| +(\S+)$", text, re.MULTILINE)}
    assert {"aiohttp", "engineroom_echo.engine", "runpod.serverless.modules.rp_job"} <= loaded
    assert sorted(loaded & HEAVY) == []
