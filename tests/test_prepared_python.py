"""A fork of a prepared Python is what a new process would be: tests of doors rely on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from http_door import COMMAND, Door, serving
from prepared_python import PREPARED, engineroom

ENVIRON = {**os.environ, "ENGINE": "echo", "HOST": "0.0.0.0", "MAX_TOKENS": "7"}

pytestmark = pytest.mark.skipif(not PREPARED.suits(ENVIRON), reason="forks of a prepared Python are for Linux")


@pytest.mark.parametrize(
    ("arguments", "more"),
    [
        (["config", "--all", "--json"], {}),
        (["config"], {"PORT": "many", "REQUEST_TIMOUT": "3"}),
        (["serve"], {"ENGINE": "elsewhere"}),
        (["sevre"], {}),
        (["config", "--help"], {"COLUMNS": "50"}),
    ],
    ids=lambda value: " ".join(value),
)
def test_it_says_what_a_new_process_says(
    arguments: list[str], more: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And reads the files of the folder that the test is in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("SERVED_MODEL_NAME=of-the-folder\n")
    environ = {**ENVIRON, **more}
    done = subprocess.run([COMMAND, *arguments], env=environ, capture_output=True, text=True, timeout=60, check=False)
    fork = engineroom(*arguments, environ=environ)
    assert (fork.returncode, fork.stdout, fork.stderr) == (done.returncode, done.stdout, done.stderr)
    assert done.stdout + done.stderr


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, -signal.SIGKILL)], ids=str
)
def test_a_door_ends_as_a_new_one_does(number: signal.Signals, code: int) -> None:
    with serving() as door:
        assert _is_a_fork(door)
        door.signal(number)
        assert door.ended() == code
        assert "Traceback" not in door.log
    with serving(anew=True) as door:
        assert not _is_a_fork(door)
        door.signal(number)
        assert door.ended() == code


def _is_a_fork(door: Door) -> bool:
    return b"prepared_python" in Path(f"/proc/{door.process.pid}/cmdline").read_bytes()


@pytest.mark.parametrize("name", ["PYTHONPATH", "PYTHONMALLOC", "LC_ALL", "TZ"])
def test_what_changes_python_itself_gets_a_new_one(name: str) -> None:
    assert not PREPARED.suits({**ENVIRON, name: "other"})


ORPHANED = """
import sys, time
from http_door import serving
with serving() as door:
    print(door.process.pid, flush=True)
    time.sleep(600)
"""


def test_nothing_outlives_a_killed_run_of_tests() -> None:
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).with_name("support"))}
    with subprocess.Popen([sys.executable, "-c", ORPHANED], env=environ, stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout is not None
        door = psutil.Process(int(tests.stdout.readline()))
        tests.kill()
        assert psutil.wait_procs([door], timeout=60)[0]
