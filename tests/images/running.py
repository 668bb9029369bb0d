"""A container's own command, run as a platform runs it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from engineroom.process import reaper

from .buildah import ENVIRON, Container


@contextlib.contextmanager
def started(container: Container, log: Path, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """The container's own command, as a platform starts it; whatever is left of it is killed at the end."""
    theirs, ours = os.pipe()
    command = container.command(container.entry, environ)
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-I", reaper.__file__, str(theirs), "20", "--", *command],
                env=ENVIRON,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(theirs,),
                start_new_session=True,
            )
        yield process
    finally:
        os.close(theirs)
        os.close(ours)
        process.wait(40)


def until(url: str, status: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url).status_code == status:
                return
        time.sleep(0.1)
    raise AssertionError(f"{url} never answered {status}:\n{log.read_text()}")
