"""The Python that an engine is installed in: found without importing anything of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from engineroom.server import EnginePython, find_python


def make_python(path: Path, versions: str) -> Path:
    """A command that stands in for a Python which has these distributions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{versions}'\n")
    path.chmod(0o755)
    return path


def test_the_named_python_is_taken_whatever_it_has(tmp_path: Path) -> None:
    python = make_python(tmp_path / "python", '{"zork": "1.2"}')
    assert find_python(("other",), str(python)) == EnginePython(str(python), {"zork": "1.2"})
    assert find_python(("other",), "/nonexistent/python") == EnginePython("/nonexistent/python", {})


def test_this_python_goes_before_others_and_tells_what_stands_beside() -> None:
    python = find_python(("no-such-distribution", "pytest"), beside=("anyio",))
    assert python.executable == sys.executable
    assert python.version("no-such-distribution", "pytest") == pytest.__version__
    assert python.version("anyio")


def test_a_command_leads_to_its_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = make_python(tmp_path / "engine" / "python", '{"zork": "1.2"}')
    command = make_python(tmp_path / "bin" / "zork", "")
    command.write_text(f"#!{python}\n")
    monkeypatch.setenv("PATH", str(command.parent), prepend=":")
    assert find_python(("zork",), command="zork") == EnginePython(str(python), {"zork": "1.2"})
    assert find_python(("zork",)).versions == {}


def test_its_scripts_are_first_on_the_path() -> None:
    environ = EnginePython("/opt/engine/bin/python", {}).on_path({"PATH": "/usr/bin", "LANG": "C"})
    assert environ == {"PATH": "/opt/engine/bin:/usr/bin", "LANG": "C"}
    assert EnginePython("python3", {}).on_path({"PATH": "/usr/bin"}) == {"PATH": "/usr/bin"}


def test_this_python_by_another_name_is_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an environment `python3` on the path is the interpreter that has just been looked into; asking takes 50 ms."""
    python = make_python(tmp_path / "bin" / "python", '{"zork": "1.2"}')
    (python.parent / "python3").symlink_to(python)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("PATH", str(python.parent))
    assert find_python(("zork",)).versions == {}


def test_a_python_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start wants the versions three times; by another PYTHONPATH they may be others."""
    python, asked = tmp_path / "python", tmp_path / "asked"
    python.write_text(f'#!/bin/sh\necho >> {asked}\necho \'{{"zork": "1.2"}}\'\n')
    python.chmod(0o755)
    for _ in range(3):
        assert find_python(("zork",), str(python)).version("zork") == "1.2"
    assert asked.read_text() == "\n"
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    find_python(("zork",), str(python))
    assert asked.read_text() == "\n\n"
