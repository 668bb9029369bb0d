"""The Compose files as podman-compose reads them, with a stand-in for podman; skipped where it is not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from compose_file import FILE, ROOT
from real_engine import script

PROGRAM = shutil.which("podman-compose", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
OVERLAYS = ["", *sorted(path.name for path in (ROOT / "docker/compose").glob("*.yml") if path.name != "gpus.yml")]
"""`extends: file` is looked for in the file's own folder by podman-compose, and in the project's by Docker Compose."""


@pytest.mark.skipif(PROGRAM is None, reason="podman-compose is not installed (pip install podman-compose)")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_podman_compose_reads_them(overlay: str, tmp_path: Path) -> None:
    script(tmp_path / "podman", 'case "$*" in *--version*) echo "podman version 5.2.0" ;; esac')
    files = [str(FILE), *([str(ROOT / "docker/compose" / overlay)] if overlay else [])]
    profiles = ["redis", "monitoring", "tls", "queue"]
    command = [str(PROGRAM), *(part for file in files for part in ("--file", file))]
    command += [part for profile in profiles for part in ("--profile", profile)]
    done = subprocess.run(
        [*command, "config"],
        cwd=ROOT,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path), "PORT": "9000"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert {"worker", "redis", "prometheus", "grafana", "nginx", "queue", "queue-worker"} <= set(services)
    assert services["worker"]["ports"] == ["127.0.0.1:9000:8000"]
    assert "$ID" in services["queue-worker"]["environment"]["RUNPOD_WEBHOOK_GET_JOB"]
