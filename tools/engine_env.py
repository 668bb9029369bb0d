"""An engine's own environment for tests and measurements, from pinned requirements files: used by engines' tools."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def uv() -> str:
    """The `uv` beside this Python or on the path; ends the program where there is none."""
    path = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    return path or sys.exit("uv is needed: pip install uv")


def make(
    folder: Path,
    python: str,
    requirements: Path,
    *more: str | Path,
    made_from: Iterable[Path] = (),
    then: Callable[[Path], None] = lambda folder: None,
) -> int:
    """Make `folder` an environment with `requirements`; does nothing where it is one already.

    Args:
        python: its version, `3.12`.
        more: further arguments of `uv pip install`.
        made_from: more files that it depends on.
        then: done to it at the end.
    """
    stamp = folder / "engineroom-requirements"
    files = (requirements, Path(__file__), *made_from)
    wanted = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted and (folder / "bin" / "python").exists():
        print(f"{folder}: up to date")
        return 0
    create(folder, python)
    install(folder, "-r", requirements, *more)
    then(folder)
    stamp.write_text(wanted)
    return 0


def create(folder: Path, python: str) -> None:
    """Make an environment without anything in it."""
    subprocess.run([uv(), "venv", "--clear", "--python", python, folder], check=True)


def install(folder: Path, *arguments: str | Path) -> None:
    """Install into the environment `folder`; the arguments are those of `uv pip install`."""
    pip_install(folder / "bin" / "python", *arguments)


def pip_install(python: Path, *arguments: str | Path) -> None:
    """Install for a Python; the arguments are those of `uv pip install`."""
    subprocess.run([uv(), "pip", "install", "--python", python, *arguments], check=True)


def cpu_torch(requirements: Path) -> tuple[str, list[str]]:
    """The Python's version to take, and where uv finds the CPU build of the torch that `requirements` names.

    PyPI has none. Where pip is configured with a folder of wheels that holds it (`find-links`) it is taken from there;
    on any other machine uv's `--torch-backend cpu` finds it at PyTorch's. The Python is this one, 3.11 at least, or the
    one that the wheel is for.
    """
    pin = re.search(r"^torch==(\S+)", requirements.read_text(), re.MULTILINE)
    wheels = {folder: sorted(Path(folder).glob(f"torch-{pin[1] if pin else ''}-*")) for folder in wheel_folders()}
    python, links = f"3.{max(sys.version_info[1], 11)}", []
    for folder, names in wheels.items():
        if names:
            links += ["--find-links", folder]
            tag = re.search(r"-cp3(\d+)-", names[0].name)
            python = f"3.{tag[1]}" if tag else python
    return python, links or ["--torch-backend", "cpu"]


def wheel_folders() -> Iterator[str]:
    """The wheel folders that pip is configured with, in a file or in its environment."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    for value in re.findall(r"\.find-links='([^']*)'", listed.stdout):
        yield from dict.fromkeys(value.split())
