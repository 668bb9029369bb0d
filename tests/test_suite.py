"""What holds for this test suite itself, on whatever machine it runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from programs import trouble
from real_engine import script

ROOT = Path(__file__).parents[1]
PYTEST = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:schemathesis"]
"""One more run of pytest. Schemathesis takes longest to import of all plugins, and no test that runs here is its."""

SKIPPING = """
import pytest

@pytest.mark.parametrize("number", range(3))
def test_without_a_program(number):
    pytest.skip("program is not installed")

@pytest.mark.skipif(True, reason="needs another machine")
def test_elsewhere(): ...

def test_here(): ...
"""


@pytest.mark.parametrize("workers", ["", "2"])
def test_skips_are_counted_by_their_reason(tmp_path: Path, workers: str) -> None:
    (tmp_path / "test_skipping.py").write_text(SKIPPING)
    (tmp_path / "conftest.py").write_text((ROOT / "conftest.py").read_text())
    command = [*PYTEST, "-q", "."]
    command += ["-n", workers] if workers else ["-p", "no:xdist"]
    output = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120).stdout
    table = output.partition("skipped, by reason")[2].splitlines()[1:3]
    assert table == ["    3  program is not installed", "    1  needs another machine"], output


def test_files_that_share_a_real_engine_run_in_one_process_and_begin_first(tmp_path: Path) -> None:
    files = ["other/test_a.py", "other/test_b.py", *(f"engines/mine/tests/test_real_{name}.py" for name in "abc")]
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("def test_one(): ...\n\ndef test_two(): ...\n")
    (tmp_path / "conftest.py").write_text((ROOT / "conftest.py").read_text())
    command = [*PYTEST, "-v", "--import-mode=importlib", "-n", "2", "--dist", "loadfile", "."]
    output = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120).stdout
    ran = re.findall(r"^\[(gw\d)\] .* PASSED (\S+)::", output, re.MULTILINE)
    assert len(ran) == 2 * len(files), output
    real = [process for process, file in ran if "test_real_" in file]
    assert len({*real}) == 1, output
    assert next(file for process, file in ran if process == real[0]).endswith("test_real_a.py")


def test_the_files_that_begin_first_are_there() -> None:
    listed = (ROOT / "conftest.py").read_text().partition("_LONGEST = (")[2].partition(")")[0]
    files = re.findall(r'"(.*)"', listed)
    assert files
    assert not [file for file in files if not (ROOT / file).is_file()]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "program is not installed"),
        ("echo 'install it from the shop' >&2; exit 1", "program is here and does not work: install it from the shop"),
        ("exit 3", "program is here and does not work: exit code 3"),
        (b"\x7fELF of another machine", "program is here and does not run: "),
        ("exit 0", None),
    ],
)
def test_a_program_that_cannot_do_its_work_is_none(
    tmp_path: Path, content: str | bytes | None, reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test that needs it skips then, with what it said; it was taken for one where a file had its name."""
    if content is not None:
        path = script(tmp_path / "program", "")
        Path(path).write_bytes(content if isinstance(content, bytes) else f"#!/bin/sh\n{content}\n".encode())
    monkeypatch.setenv("PATH", str(tmp_path))
    trouble.cache_clear()
    answer = trouble("program", "--version")
    trouble.cache_clear()
    assert (answer is None) if reason is None else str(answer).startswith(reason)


def test_the_shell_s_own_settings_are_no_test_s() -> None:
    """Keys, an engine, a proxy, colours and another place of the world: doors are started and asked all the same."""
    shell = {
        "API_KEYS": "sk-mine",
        "ENGINE": "elsewhere",
        "PORT": "1",
        "MODEL_NAME": "/mine",
        "FORCE_COLOR": "1",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
        "ALL_PROXY": "http://127.0.0.1:9",
        "LANG": "C",
        "LC_ALL": "C",
        "TZ": "Pacific/Kiritimati",
        "COLUMNS": "20",
    }
    command = [*PYTEST, "-q", "-p", "no:xdist"]
    command += ["workers/tests/http/test_context.py", "workers/tests/test_extras.py"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **shell}, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]
