"""Redis as docker-compose.yml starts it: the program is real, what its image puts around it is a stand-in."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from compose_file import ROOT
from http_door import free_port, serving


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    """Its URL."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed (Debian: apt-get install redis-server)")
    standin, port = tmp_path / "docker-entrypoint.sh", free_port()
    standin.write_text('#!/bin/sh\nexec "$@"\n')
    standin.chmod(0o755)
    url = f"redis://127.0.0.1:{port}/0"
    service = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["redis"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            ["sh", str(ROOT / "docker/compose/redis/start.sh"), *service["command"], "--port", str(port)],
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "REDIS_URL": url},
            cwd=tmp_path,
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)
        yield url
    finally:
        process.kill()
        process.wait(10)


def test_the_worker_keeps_answers_in_it(redis: str) -> None:
    body = {"messages": [{"role": "user", "content": "Hello"}], "temperature": 0}
    told = []
    for _ in range(2):  # What is kept outlives the worker.
        with serving({"CACHE_TTL": "60", "REDIS_URL": redis}) as door:
            told.append(httpx.post(f"{door.url}/v1/chat/completions", json=body).headers["cache-status"])
            assert httpx.get(f"{door.url}/health").json()["redis"] == "up"
    assert "fwd=miss" in told[0]
    assert "hit" in told[1]
