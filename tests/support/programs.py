"""Programs of the machine that some tests run. Tests skip where one is not there, or is and cannot do its work."""

from __future__ import annotations

import functools
import shutil
import subprocess

import pytest

_REMEDY = "tools/ci-packages.sh installs what tests need"


@functools.cache
def trouble(*command: str) -> str | None:
    """Why a program cannot be used here, None where it can: `command` must run it to a good end.

    That a file of its name lies on PATH says little: it may be another machine's, a stub that only says what to
    install, or a client without the plugin or the server that does the work.
    """
    program = command[0]
    if shutil.which(program) is None:
        return f"{program} is not installed ({_REMEDY})"
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{program} is here and does not run: {error}"
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        return f"{program} is here and does not work: {lines[-1].strip()}"
    return None


def need(*command: str) -> None:
    """Skip the test where `trouble` has something to say of this command.

    It is no mark: each process of a run of the suite makes all marks, and would run all programs for them.
    """
    reason = trouble(*command)
    if reason:
        pytest.skip(reason)
