"""Redis as docker-compose.yml starts it: the program is real, what its image puts around it is a stand-in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from compose_file import ROOT
from http_door import free_port, serving
from programs import need
from server_process import ServerProcess


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    """Its URL."""
    need("redis-server", "--version")
    standin, port = tmp_path / "docker-entrypoint.sh", free_port()
    standin.write_text('#!/bin/sh\nexec "$@"\n')
    standin.chmod(0o755)
    url = f"redis://127.0.0.1:{port}/0"
    service = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["redis"]
    server = ServerProcess(
        ["sh", str(ROOT / "docker/compose/redis/start.sh"), *service["command"], "--port", str(port)],
        tmp_path / "log",
        {"PATH": f"{tmp_path}:{os.environ['PATH']}", "REDIS_URL": url},
        tmp_path,
    )
    try:
        server.until_listening(port)
        yield url
    finally:
        server.kill()


def test_the_worker_keeps_answers_in_it(redis: str) -> None:
    body = {"messages": [{"role": "user", "content": "Hello"}], "temperature": 0}
    statuses = []
    for _ in range(2):  # What is kept outlives the worker.
        with serving({"CACHE_TTL": "60", "REDIS_URL": redis}) as door:
            statuses.append(httpx.post(f"{door.url}/v1/chat/completions", json=body).headers["cache-status"])
            assert httpx.get(f"{door.url}/health").json()["redis"] == "up"
    assert "fwd=miss" in statuses[0]
    assert "hit" in statuses[1]
