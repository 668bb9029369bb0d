"""Ray Serve for tests, as processes of its own: `engineroom ray`, and `serve run` with a configuration."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml

from engineroom_workers.testing import Door, DoorProcess

SERVE = str(Path(sys.executable).with_name("serve"))


def start_ray(command: str, environ: Mapping[str, str]) -> DoorProcess:
    """`engineroom ray` with exactly this environment, for `engineroom_workers.testing.serving`."""
    return subprocess.Popen([command, "ray"], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def processes_below(pid: int) -> list[psutil.Process]:
    """All that a process has started, and what those have, those of a session of their own included."""
    return psutil.Process(pid).children(recursive=True)


def left_of(processes: list[psutil.Process], seconds: float) -> list[str]:
    """The command lines of those that are still there after `seconds`."""
    deadline = time.monotonic() + seconds
    left = processes
    while left and time.monotonic() < deadline:
        left = [one for one in left if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
        time.sleep(0.1)
    return [" ".join(one.cmdline()) for one in left]


@contextmanager
def serve_run(config: Mapping[str, Any], folder: Path, environ: Mapping[str, str], port: int) -> Iterator[Door]:
    """`serve run` with a configuration, on a cluster of its own; stopped at the end.

    Args:
        config: as KubeRay has it in `serveConfigV2`.
        folder: for the configuration, and to run in.
        environ: variables beside this process's own.
        port: where it is to listen, as the configuration says, too.
    """
    file = folder / "serve.yaml"
    file.write_text(yaml.safe_dump(dict(config)))
    process = subprocess.Popen(
        [SERVE, "run", str(file)],
        cwd=folder,
        env={**os.environ, "RAY_ADDRESS": "local", "RAY_USAGE_STATS_ENABLED": "0", **environ},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    door = Door(process, port)
    try:
        yield door
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
