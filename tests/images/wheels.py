"""Wheels for builds without a network: the worker's pins, and stand-ins for an engine's own packages."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from packaging.requirements import Requirement

PYTHON = "3.11.2"
"""Debian 12's."""


def requirements(text: str) -> list[str]:
    """A compiled requirements file's lines without hashes and comments."""
    lines = (line.removesuffix("\\").strip() for line in text.splitlines() if not line.startswith((" ", "#")))
    return [line for line in lines if line]


def wheelhouse(pins: Sequence[str], cache: Path) -> Path:
    """A folder with the wheels of these requirements for Debian's Python, downloaded once for each list."""
    digest = hashlib.sha256("\n".join([PYTHON, *pins]).encode()).hexdigest()
    folder = cache / f"wheels-{digest[:16]}"
    if not folder.is_dir():
        partial = folder.with_suffix(".partial")
        partial.mkdir(exist_ok=True)
        chosen = partial / "requirements.txt"
        chosen.write_text("\n".join(wanted(pins)))
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        subprocess.run(
            [*command, "--python-version", PYTHON, "--dest", str(partial), "--requirement", str(chosen)],
            check=True,
            capture_output=True,
            timeout=600,
        )
        partial.rename(folder)
    return folder


def wanted(pins: Sequence[str]) -> list[str]:
    """The pins that Debian's Python takes; pip would judge their markers by the one that it runs in."""
    requirements = [Requirement(line) for line in pins]
    python = {"python_full_version": PYTHON, "python_version": PYTHON.rpartition(".")[0]}
    return [f"{r.name}{r.specifier}" for r in requirements if r.marker is None or r.marker.evaluate(python)]


def make_wheel(folder: Path, name: str, version: str, files: Mapping[str, bytes]) -> Path:
    """A pure wheel with these files, as pip installs and uninstalls it."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = name.replace("-", "_")
    info = f"{plain}-{version}.dist-info"
    contents = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: standin\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*contents, f"{info}/RECORD"])
    path = folder / f"{plain}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for member, content in {**contents, f"{info}/RECORD": record.encode()}.items():
            wheel.writestr(member, content)
    return path
