"""`docker-compose.yml` as Docker Compose itself understands it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from docker_bake import docker_environment
from programs import trouble

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
NEEDED = {"IMAGE": "engineroom:dev", "MODEL_NAME": "org/model"}
"""What runs, in the place of what the file has by itself."""


def command() -> list[str]:
    """Docker Compose, alone or as Docker's plugin; tests that need it skip where there is none that is new enough."""
    for candidate in (["docker-compose"], ["docker", "compose"]):
        ask = [*candidate, "version", "--short"]
        if trouble(*ask) is None:
            version = re.match(
                r"v?(\d+)\.(\d+)", subprocess.run(ask, capture_output=True, text=True, timeout=30).stdout
            )
            if version and (int(version[1]), int(version[2])) >= (2, 24):
                return candidate
    pytest.skip("Docker Compose 2.24 or newer is not installed (tools/ci-packages.sh brings it)")


def compose(*arguments: str, folder: Path | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run it on the committed file, with no other settings than these.

    Args:
        folder: where `.env` is looked for; by default one that has none.
    """
    project = ["--project-directory", str(folder or ROOT)]
    no_env = [] if folder else ["--env-file", os.devnull]
    return subprocess.run(
        [*command(), "--file", str(FILE), *project, *no_env, *arguments],
        env={**docker_environment(), **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


def config(*profiles: str, folder: Path | None = None, overlay: str = "", **environ: str) -> dict[str, Any]:
    """What would run with these profiles.

    Args:
        overlay: a second file, of docker/compose.
    """
    chosen = ["--file", str(ROOT / "docker/compose" / overlay)] if overlay else []
    chosen += [part for profile in profiles for part in ("--profile", profile)]
    done = compose(*chosen, "config", "--format", "json", folder=folder, **{**NEEDED, **environ})
    assert done.returncode == 0, done.stderr
    resolved: dict[str, Any] = json.loads(done.stdout)
    return resolved
