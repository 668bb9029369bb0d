"""The Python that an engine is installed in, often another than ours: looked for and asked, nothing imported."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_ASK = """
import importlib.metadata, json, sys
versions = {}
for name in sys.argv[1:]:
    try:
        versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(versions))
"""


@dataclass(frozen=True, slots=True)
class EnginePython:
    """An interpreter, and what it has of the distributions that it was asked for.

    executable: its path, or a name that is looked up on the path.
    versions: distribution -> version, e.g. `0.32.0+cpu`; without those that it does not have.
    """

    executable: str
    versions: Mapping[str, str]

    def version(self, *distributions: str) -> str | None:
        """The version of the first of these that it has."""
        return next((self.versions[name] for name in distributions if self.versions.get(name)), None)

    def on_path(self, environ: Mapping[str, str]) -> dict[str, str]:
        """`environ` with its scripts first on the path: engines call some by their bare names (`ninja`)."""
        scripts = Path(self.executable).parent
        if scripts == Path():
            return dict(environ)
        return {**environ, "PATH": os.pathsep.join((str(scripts), environ.get("PATH", os.defpath)))}


def find_python(
    distributions: Sequence[str],
    named: str | None = None,
    *,
    command: str | None = None,
    beside: Sequence[str] = (),
) -> EnginePython:
    """The Python that has an engine; one without any version where none has it. Takes some 50 ms.

    Looked for in this interpreter, behind the engine's own command, and in `python3`: an engine's own image has it
    there.

    Args:
        distributions: the names that it may be installed under.
        named: the Python that the user named; it is taken, whatever it has.
        command: the engine's own command, a script whose first line names its interpreter.
        beside: other distributions of which the version matters.
    """
    wanted = (*distributions, *beside)
    if named is not None:
        return _ask(named, wanted)
    here = EnginePython(sys.executable, dict(_installed_here(wanted)))
    if here.version(*distributions) is not None:
        return here
    others = (_interpreter_of(command), "/usr/bin/python3", shutil.which("python3"))
    for executable in dict.fromkeys(others):
        if executable is not None and not _is_this_one(executable):
            python = _ask(executable, wanted)
            if python.version(*distributions) is not None:
                return python
    return EnginePython("python3", {})


def _is_this_one(executable: str) -> bool:
    """Whether it is another name of this interpreter in the same environment, which has the same distributions."""
    other = Path(executable)
    this = Path(sys.executable)
    return other.parent == this.parent and other.resolve() == this.resolve()


def _installed_here(distributions: Sequence[str]) -> Iterator[tuple[str, str]]:
    for name in distributions:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue


def _ask(executable: str, distributions: Sequence[str]) -> EnginePython:
    own = tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("PYTHON")))
    return EnginePython(executable, _answer(shutil.which(executable) or executable, tuple(distributions), own))


@cache
def _answer(path: str, distributions: tuple[str, ...], own: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    """The versions that it tells; a start needs them for its settings, for its checks and for the engine.

    Args:
        own: Python's own variables, by which it finds what it has.
    """
    try:
        done = subprocess.run(
            [path, "-c", _ASK, *distributions], capture_output=True, text=True, timeout=10, check=True
        )
        versions: Mapping[str, str] = json.loads(done.stdout)
        return versions
    except (OSError, subprocess.SubprocessError, ValueError):
        return {}


def _interpreter_of(command: str | None) -> str | None:
    """The interpreter in the first line of a script."""
    script = shutil.which(command) if command else None
    if script is None:
        return None
    with Path(script).open("rb") as file:
        line = file.readline(256).decode("utf-8", "replace").strip()
    interpreter = line.removeprefix("#!").split(" ")[0]
    return interpreter if line.startswith("#!/") and Path(interpreter).exists() else None
