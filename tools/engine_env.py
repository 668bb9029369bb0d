"""An engine's own environment for tests and measurements, from a pinned requirements file: used by engines' tools."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def uv() -> str:
    """The `uv` beside this Python or on the path; ends the program where there is none."""
    found = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    return found or sys.exit("uv is needed: pip install uv")


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
    subprocess.run([uv(), "venv", "--clear", "--python", python, folder], check=True)
    install = [uv(), "pip", "install", "--python", folder / "bin" / "python", "-r", requirements, *more]
    subprocess.run(install, check=True)
    then(folder)
    stamp.write_text(wanted)
    return 0
