"""Where a model's files are: in a local folder, in a hub's cache in the image or on a volume, or still on the hub.

Hugging Face's client keeps `models--org--name/snapshots/<commit>`. ModelScope's keeps
`models/org--name/snapshots/<revision>`, and its older releases `org/name` with `___` for a dot. All of them are read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from .volumes import fall_back, readable, why_unwritable

_CACHE_FOLDER = re.compile(r"^models--(.+)$")
_WEIGHTS = ("*.safetensors", "*.bin", "*.gguf", "*.pt")


_HUB_CACHES = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "MODELSCOPE_CACHE")
"""Variables that name the folders of hubs' clients."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model and where it is.

    name: what to call it: the repository's id as the user wrote it, or the name of a local folder or file; never a
        path into a cache.
    folder: where its files are; None if it must be downloaded.
    """

    name: str
    folder: Path | None


def resolve(model: str, revision: str | None = None, caches: Iterable[Path] = ()) -> ModelFiles:
    """Find a model by the name or path that the user gave. Touches the file system only.

    Args:
        model: a path, or a repository `org/name`.
        revision: a branch, tag or commit; `main` by default. A path is taken as it is.
        caches: cache folders of either hub; the first that has the whole model wins. A volume may have the model's
            folder in lower case, whatever the case of the repository's name.
    """
    path = Path(model).expanduser()
    if path.exists():
        return ModelFiles(_name_of(path), path)
    for cache in caches:
        for folder in _candidates(cache, model, revision):
            if is_whole(folder):
                return ModelFiles(model, folder)
    return ModelFiles(model, None)


def _candidates(cache: Path, model: str, revision: str | None) -> Iterator[Path]:
    """The folders in a cache that may have the files of a model, the best first."""
    flat_name = model.replace("/", "--")
    for folder in (*_named_folders(cache, f"models--{flat_name}"), *_named_folders(cache / "models", flat_name)):
        yield from _snapshots(folder, revision)
    if revision in (None, "main", "master"):
        yield from _older_modelscope(cache, model)


def cache_folders(environ: Mapping[str, str], base_path: str | None = None) -> tuple[Path, ...]:
    """The caches to look into: Hugging Face's as the environment names it, the volume's, then ModelScope's.

    Args:
        base_path: where the volume is.
    """
    home = environ.get("HF_HOME") or "~/.cache/huggingface"
    hub_cache = environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE") or f"{home}/hub"
    folders = [Path(hub_cache).expanduser(), *map(Path, readable(environ))]
    if base_path:
        volume = Path(base_path) / "huggingface-cache"
        folders += [volume / "hub", volume]
    modelscope = Path(environ.get("MODELSCOPE_CACHE") or "~/.cache/modelscope").expanduser()
    folders += [modelscope, modelscope / "hub"]
    return tuple(dict.fromkeys(folders))


def writable(path: str) -> Path | None:
    """The folder at that path if it exists and can be written, e.g. the volume that outlives a worker; else None."""
    folder = Path(path).expanduser()
    return folder if path and folder.is_dir() and why_unwritable(folder) is None else None


def hub_environ(
    environ: Mapping[str, str],
    base_path: str,
    token: SecretStr | None = None,
    *,
    baked: bool = False,
    caches: Iterable[str] = (),
) -> dict[str, str]:
    """`environ` as an engine with a hub client of its own should have it.

    Args:
        base_path: where a volume may be; models are downloaded to it, unless the environment names another place.
        token: the hub's token, which becomes HF_TOKEN.
        baked: whether the model is part of the image, so that no hub need be asked for it.
        caches: the engine's own variables that name folders where it keeps what it makes. Where such a folder, or one
            of the hub's, cannot be written, it is another one, on this machine's own disk.
    """
    result = dict(environ)
    if token is not None:
        result["HF_TOKEN"] = token.get_secret_value()
    if baked:
        result.setdefault("HF_HUB_OFFLINE", "1")
        result.setdefault("TRANSFORMERS_OFFLINE", "1")
    volume = writable(base_path)
    if volume is not None and not result.keys() & {"HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}:
        result["HF_HOME"] = str(volume / "huggingface-cache")
    offline = baked or result.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    # What is only read may be read-only.
    fall_back(result, () if offline else _HUB_CACHES, caches, base_path)
    return result


def is_whole(folder: Path) -> bool:
    """Whether a folder has weights, and every file that its weight index names."""
    for index in folder.glob("*.index.json"):
        try:
            names = set(json.loads(index.read_bytes())["weight_map"].values())
        except (OSError, ValueError, KeyError, AttributeError):
            return False
        return all((folder / name).exists() for name in names)
    return bool(weights(folder))


def weights(path: Path) -> list[Path]:
    """The weight files at a path, sorted. Of several formats it is the first of `_WEIGHTS`: the others repeat it."""
    if path.is_file():
        return [path]
    for pattern in _WEIGHTS:
        files = sorted(file for file in path.glob(pattern) if file.is_file())
        if files:
            return files
    return []


def _name_of(path: Path) -> str:
    """The name of a model that is at a path; in a cache it is the repository's."""
    for part in reversed(path.absolute().parts):
        match = _CACHE_FOLDER.match(part)
        if match is not None:
            return match[1].replace("--", "/")
    return path.resolve().name


def _named_folders(parent: Path, name: str) -> Iterator[Path]:
    """The folders of that name: in its own case first, then in any other."""
    if (parent / name).is_dir():
        yield parent / name
    if parent.is_dir():
        for folder in parent.iterdir():
            if folder.name != name and folder.name.lower() == name.lower():
                yield folder


def _older_modelscope(cache: Path, model: str) -> Iterator[Path]:
    """Where ModelScope's older clients put a model. They keep one revision, and do not say which."""
    organisation, slash, name = model.partition("/")
    if not slash:
        return
    for folder_name in dict.fromkeys((name.replace(".", "___"), name)):
        yield cache / "models" / organisation / folder_name
        yield cache / organisation / folder_name


def _snapshots(folder: Path, revision: str | None) -> Iterator[Path]:
    """The snapshot of a revision. If no revision is asked for and none is noted as `main`, it is the only one there."""
    snapshots = folder / "snapshots"
    try:
        commit = (folder / "refs" / (revision or "main")).read_text().strip()
    except OSError:
        commit = revision or ""
    if commit and (snapshots / commit).is_dir():
        yield snapshots / commit
    elif revision in (None, "main") and snapshots.is_dir():
        folders = [path for path in snapshots.iterdir() if path.is_dir()]
        if len(folders) == 1:
            yield folders[0]
