"""What an image is built from: the files that the Dockerfile copies out of this repository, and their digest."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_COPY = re.compile(r"^COPY (?!--from)(.+)$", re.MULTILINE)
_RECIPE = ("Dockerfile", "docker/docker-bake.hcl")
"""What decides beside the files copied."""


def copied(root: Path) -> list[str]:
    """The sources of the Dockerfile's COPY lines, as they stand there but for a build's arguments, which are any name:
    `common`, `engines/*`, `requirements/transformers-*.txt`."""
    lines = _COPY.findall((root / "Dockerfile").read_text(encoding="utf-8"))
    sources = [source for line in lines for source in line.split()[:-1]]
    return [re.sub(r"\$\{\w+\}|\$\w+", "*", source) for source in sources]


def files(root: Path) -> Iterator[Path]:
    """The files that the build sees of them: without those that .dockerignore leaves out at any depth."""
    lines = (root / ".dockerignore").read_text(encoding="utf-8").splitlines()
    ignored = [line.removeprefix("**/") for line in lines if line.startswith("**/")]
    for source in copied(root):
        for start in root.glob(source):
            for path in [start, *start.rglob("*")]:
                parts = path.relative_to(root).parts
                if path.is_file() and not any(PurePosixPath(part).match(name) for part in parts for name in ignored):
                    yield path


def digest(root: Path) -> str:
    """Twelve hexadecimal digits that change with whatever goes into an image, and with how it is built."""
    total = hashlib.sha256()
    for path in sorted({*files(root), *(root / name for name in _RECIPE)}):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
    return total.hexdigest()[:12]
