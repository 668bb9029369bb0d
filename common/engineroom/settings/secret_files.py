"""Secrets in files of their own: those of a folder, as Docker and Kubernetes mount it, and those that variables name.

Docker's secrets: https://docs.docker.com/compose/how-tos/use-secrets/. pydantic-settings reads such a folder, too
(`secrets_dir`), but all of it for each model anew, and knows no `…_FILE`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..errors import Problem, SettingsError
from .files import read_text

SECRETS_DIR = "/run/secrets"
"""Where Docker, Podman and Compose mount a container's secrets, each a file."""


def file_variable(name: str) -> str:
    """The variable that may name the file of a secret, as the images of databases have it."""
    return f"{name}_FILE"


def secret_files(folder: Path, *, named: bool) -> Mapping[str, Path]:
    """The files of a folder of secrets by the settings that they are called after, in any letter case; none is read.

    Args:
        named: whether the user has named the folder; the usual one may be missing.

    Raises:
        SettingsError: the folder cannot be read: a worker without its keys would be open to everybody.
    """
    try:
        # Kubernetes mounts links to files, and folders of its own beside them.
        entries = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".") and entry.is_file()]
    except OSError as error:
        if not named and isinstance(error, (FileNotFoundError, NotADirectoryError)):
            return {}
        remedy = "mount it, or correct the path" if named else "let the user of this process read it"
        problem = f"{folder} cannot be read as a folder of secrets ({error.strerror}); {remedy}"
        raise SettingsError([Problem("ENGINEROOM_SECRETS_DIR", problem)]) from None
    return {entry.name.upper().replace("-", "_"): entry for entry in entries}


def read_secret(file: Path, variable: str, *, may_be_empty: bool = False) -> str:
    """The secret in a file, without the line break at its end.

    Raises:
        SettingsError: for `variable`; it names the file and nothing that is in it.
    """
    return read_text(file, variable, may_be_empty=may_be_empty).strip()
