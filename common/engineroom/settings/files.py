"""Files that a setting names, opened while the settings are read, so that a start does not fail over one later."""

from __future__ import annotations

import codecs
import os
import stat
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from ..errors import Problem, SettingsError

_MAX_BYTES = 10_000_000
"""More than any file of settings, keys or certificates has: a model's file, named by mistake, stays out of memory."""

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def _expanded(path: Path) -> Path:
    """The path with `~` for a home: no shell has expanded what stands in `.env` or in a container's settings."""
    return Path(os.path.expanduser(path))


FilePath = Annotated[Path, AfterValidator(_expanded)]
"""A setting that names a file."""


def read_bytes(path: Path, variable: str, *, may_be_empty: bool = False) -> bytes:
    """The content of a file that the setting `variable` names.

    Raises:
        SettingsError: there is no such file, it is something else, empty, too large, or may not be read.
    """
    try:
        # A pipe would have us wait for a writer, and could not be read a second time.
        kind = os.stat(path).st_mode
        if stat.S_ISDIR(kind):
            raise _wrong(variable, f"{path} is a folder; name the file in it. {_MOUNTED}")
        if not stat.S_ISREG(kind):
            raise _wrong(variable, f"{path} is a pipe, a socket or a device; name a file")
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise _wrong(variable, f"there is no file {path}{_where(path)}") from None
    except NotADirectoryError:
        raise _wrong(variable, f"there is no file {path}: a part of that path is a file") from None
    except PermissionError:
        user = f"user {os.getuid()}" if hasattr(os, "getuid") else "the user of this process"
        raise _wrong(variable, f"{user} may not read {path}; change its owner or its mode (chown, chmod)") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _wrong(variable, f"cannot read {path}: {reason}; name another file") from None
    if not may_be_empty and not content.strip():
        raise _wrong(variable, f"{path} is empty; fill it, or unset {variable}")
    if len(content) > _MAX_BYTES:
        raise _wrong(variable, f"{path} has more than {_MAX_BYTES // 1_000_000} MB, so it cannot be the right one")
    return content


def read_text(path: Path, variable: str, *, may_be_empty: bool = False) -> str:
    """The text of a file that the setting `variable` names: UTF-8, with or without a byte order mark.

    Raises:
        SettingsError: as for `read_bytes`, or it is not such text. None of it is quoted: it may be secret.
    """
    content = read_bytes(path, variable, may_be_empty=may_be_empty)
    if content.startswith(_UTF_16):
        raise _wrong(variable, f"{path} is in UTF-16, as some Windows programs write; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _wrong(variable, f"{path} is not a text file in UTF-8; name another file, or save it as UTF-8") from None


_MOUNTED = "(Docker makes a folder where a file to be mounted is missing.)"


def _where(path: Path) -> str:
    """What may help to find a file that is not there."""
    if not path.is_absolute():
        return f" in {Path.cwd()}; name its full path"
    if not path.parent.is_dir():
        return f", nor its folder; correct the path, or mount {path.parent} where this runs in a container"
    from difflib import get_close_matches

    try:
        names = sorted(entry.name for entry in path.parent.iterdir())
    except OSError:
        names = []
    near = get_close_matches(path.name, names, n=1)
    return f"; did you mean {path.with_name(near[0])}?" if near else "; correct the path, or put the file there"


def _wrong(variable: str, message: str) -> SettingsError:
    return SettingsError([Problem(variable, message)])
