"""The images of engines that are no other program, built over Debian: the workers in them, which need no model."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest
from http_door import free_port

from .conftest import DEBIAN, Workshop
from .running import started, until

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif("BUILD_SMALL_IMAGES" not in os.environ, reason="`make release-check` builds these"),
]


@pytest.mark.parametrize(("engine", "status"), [("echo", 200), ("upstream", 204)])
def test_a_worker_without_a_model_opens_its_door(workshop: Workshop, engine: str, status: int, tmp_path: Path) -> None:
    """`upstream` has a server where nobody listens: it is alive, and not ready."""
    row = next(name for name in workshop.plan["target"] if name.startswith(f"{engine}-"))
    image, _ = workshop.build(row, "worker", BASE=DEBIAN)
    port, log = free_port(), tmp_path / "log"
    with workshop.buildah.container(image) as container:
        assert container.run("id", "-u").stdout.strip() == workshop.plan["target"][row]["args"]["RUN_AS"]
        environ = {"WORKER": "http", "PORT": str(port), "UPSTREAM_URLS": "http://127.0.0.1:9/v1", "MODEL_NAME": "any"}
        with started(container, log, **environ) as process:
            until(f"http://127.0.0.1:{port}/ping", status, process, log)
            assert httpx.get(f"http://127.0.0.1:{port}/health").json()["live"] is True
