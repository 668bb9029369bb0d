"""What a user calls a model: a path, a repository of the hub, or an address copied from a browser."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

_HUBS = frozenset({"huggingface.co", "www.huggingface.co", "hf.co"})
_REPOSITORY = re.compile(r"^[\w.-]+/[\w.-]+$")
_PAGES = frozenset({"tree", "blob", "resolve", "raw"})
"""What stands before the revision in the address of a repository's page or file."""


class ModelReference(NamedTuple):
    """A model as MODEL_NAME takes it.

    name: a path, or `org/name`, with `:` and a quantisation or a file's name where that is meant.
    revision: a branch, tag or commit, where the address has another than the usual one.
    """

    name: str
    revision: str | None = None

    @property
    def path(self) -> Path | None:
        """Where it is on this machine; None where it is no path that exists."""
        path = Path(self.name)
        return path if path.exists() else None

    @property
    def repository(self) -> str | None:
        """`org/name`; None where it cannot be one."""
        repository = self.name.partition(":")[0]
        return repository if self.path is None and _REPOSITORY.match(repository) else None

    @property
    def wanted(self) -> str:
        """The quantisation or file of the repository that is meant; empty where that is left open."""
        return self.name.partition(":")[2] if self.repository else ""


def parse(text: str, environ: Mapping[str, str] = os.environ) -> ModelReference:
    """Read what the user wrote; what is neither a path nor an address is taken as it is.

    Args:
        text: `~/x.gguf`, `file:///x.gguf`, `org/name:Q8_0`, `hf.co/org/name`, `hf://org/name`,
            `https://huggingface.co/org/name/blob/main/x.gguf`, ...
        environ: HF_ENDPOINT names a hub of one's own, whose addresses are read, too.
    """
    text = text.strip()
    if text.startswith("file:"):
        return ModelReference(unquote(urlsplit(text).path))
    local = Path(text).expanduser()
    if local.exists():
        return ModelReference(str(local) if text.startswith("~") else text)
    scheme, separator, rest = text.partition("://")
    if separator and scheme.lower() in ("hf", "hub"):
        return _of_hub(rest)
    if separator and scheme.lower() not in ("http", "https"):
        return ModelReference(text)
    host, _, path = (rest if separator else text).partition("/")
    own_hub = urlsplit(environ.get("HF_ENDPOINT") or "").netloc.lower()
    if host and path and host.lower() in _HUBS | {own_hub}:
        return _of_hub(path)
    return ModelReference(text)


def _of_hub(path: str) -> ModelReference:
    """The model of an address's path: `org/name`, and perhaps `/blob/<revision>/<file>` or `:<quantisation>`."""
    path = unquote(path.partition("?")[0].partition("#")[0]).strip("/").removeprefix("models/")
    parts = path.split("/")
    name = "/".join(parts[:2])
    if len(parts) < 4 or parts[2] not in _PAGES:
        return ModelReference(name)
    revision = None if parts[3] == "main" else parts[3]
    file = "/".join(parts[4:])
    if file and parts[2] != "tree":
        return ModelReference(f"{name}:{file}" if file.endswith(".gguf") else name, revision)
    return ModelReference(name, revision)
