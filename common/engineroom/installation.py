"""What is installed, and how what is missing gets installed.

Which command works depends on how engineroom itself was installed.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_CORE = "engineroom"
_FOLDERS = {_CORE: "common", "engineroom-workers": "workers"}
"""Where a clone has what is no engine."""

_NAME = re.compile(r"^([\w.-]+)(\[[^\]]*\]|)")
"""A distribution's name and its extras."""


def entry_points_of(group: str) -> list[EntryPoint]:
    """What all installed distributions register in a group, in the order of the search path."""
    return list(_entry_points(tuple(sys.path)).select(group=group))


@functools.cache
def _entry_points(path: tuple[str, ...]) -> Any:
    """All entry points on a search path, to select from. To find them is to read a file of each distribution, so it is
    done once. Python 3.10 has another class for them than later ones.
    """
    return entry_points()


def how_to_install(requirement: str, *options: str) -> str:
    """What installs a distribution beside this one, in words and a command in backticks.

    From a clone ours are installed from the clone, since no index need have them. Beside a wheel that was given as a
    file they are looked for in its folder, and beside an installation from a repository in that repository. In an image
    a running container cannot keep what is installed, so the command is one for a Dockerfile. pip is named by a path
    that works in a shell where this environment is not active.

    Args:
        requirement: as pip takes it, with extras: `engineroom-workers[limits]`.
        options: those of `pip install`.
    """
    name, extras = _NAME.findall(requirement)[0]
    image = (Path(sys.prefix) / "matrix.json").is_file()
    if image and name.startswith(f"{_CORE}-") and name not in _FOLDERS:
        engine = name.removeprefix(f"{_CORE}-")
        return f"take the image of that engine, or build it from a clone: `make image ENGINE={engine}`"
    arguments = [*options, *_where(name, extras, requirement)]
    command = shlex.join(arguments)
    if image:
        return f"in a Dockerfile over this image: `RUN python3 -m pip --python {sys.executable} install {command}`"
    return f"`{_installer()} {command}`"


def engines_at_hand() -> list[str]:
    """The engines of the clone that this runs from; none where it was installed from elsewhere."""
    clone = _clone()
    return sorted(path.parent.name for path in clone.glob("engines/*/pyproject.toml")) if clone else []


def _where(name: str, extras: str, requirement: str) -> list[str]:
    """pip's arguments that name the distribution and where it comes from."""
    if name != _CORE and not name.startswith(f"{_CORE}-"):
        return [requirement]
    folder = _FOLDERS.get(name, f"engines/{name.removeprefix(f'{_CORE}-')}")
    clone = _clone()
    if clone is not None:
        source = clone / folder
        return ["-e", f"{_short(source)}{extras}"] if source.is_dir() else [requirement]
    origin = _origin()
    url = urlsplit(str(origin.get("url", "")))
    if "vcs_info" in origin:
        vcs = origin["vcs_info"]
        return [f"{name}{extras} @ {vcs['vcs']}+{origin['url']}@{vcs['commit_id']}#subdirectory={folder}"]
    if url.scheme != "file":
        return [requirement]
    path = Path(unquote(url.path))
    if "archive_info" in origin:
        return ["--find-links", _short(path.parent), requirement]
    source = path.parent / folder
    return [f"{_short(source)}{extras}"] if source.is_dir() else [requirement]


def _clone() -> Path | None:
    """The root of the clone that this code runs from; None where it was installed and runs from a copy."""
    project = Path(__file__).resolve().parents[1]
    return project.parent if (project / "pyproject.toml").is_file() else None


def _origin() -> Mapping[str, Any]:
    """What pip noted of where the core was installed from (PEP 610); empty where that was an index."""
    try:
        text = distribution(_CORE).read_text("direct_url.json")
    except PackageNotFoundError:
        text = None
    origin: Mapping[str, Any] = json.loads(text or "{}")
    return origin


def _installer() -> str:
    """`pip install` for this environment, in a shell of which only the working directory is known."""
    beside = Path(sys.executable).with_name("pip")
    if os.environ.get("VIRTUAL_ENV") == sys.prefix != sys.base_prefix and beside.exists():
        return "pip install"
    if beside.exists():
        return f"{shlex.quote(_short(beside))} install"
    if find_spec("pip") is not None:
        return f"{shlex.quote(_short(Path(sys.executable)))} -m pip install"
    return f"uv pip install --python {shlex.quote(_short(Path(sys.executable)))}"


def _short(path: Path) -> str:
    """A path as it may be typed here: relative where it is in the working directory, with a slash in any case."""
    try:
        inside = path.relative_to(Path.cwd())
    except (ValueError, OSError):
        return str(path)
    text = str(inside)
    return text if "/" in text else f"./{text}"
