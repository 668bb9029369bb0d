"""Where a model's files are: a local folder, a hub's cache in the image or on a volume, or still on the hub.

Hugging Face keeps `models--org--name/snapshots/<commit>`; ModelScope keeps `models/org--name/snapshots/<revision>`, and
in its older releases `org/name` with `___` for a dot. A name is found in either.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import SecretStr

_CACHE_FOLDER = re.compile(r"^models--(.+)$")
_WEIGHTS = ("*.safetensors", "*.bin", "*.gguf", "*.pt")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model, resolved.

    name: what to call it: the repository's id as the user wrote it, or a local folder's or file's own name; never
        a path into a cache.
    folder: where its files are; None where it has to be downloaded.
    """

    name: str
    folder: Path | None


def resolve(model: str, revision: str | None = None, caches: Iterable[Path] = ()) -> ModelFiles:
    """Find a model by the name or path that the user gave. Touches the file system only.

    Args:
        model: a path, or a repository `org/name`.
        revision: a branch, tag or commit; `main` by default. A path is taken as it is.
        caches: cache folders of either hub; the first that has it whole wins. Volumes may hold the folder in lower
            case, whatever the repository's own case.
    """
    path = Path(model).expanduser()
    if path.exists():
        return ModelFiles(_name_of(path), path)
    wanted = "models--" + model.replace("/", "--")
    for cache in caches:
        kept = [*_folders(cache, wanted), *_folders(cache / "models", model.replace("/", "--"))]
        for snapshot in (snapshot for folder in kept for snapshot in _snapshots(folder, revision)):
            if is_whole(snapshot):
                return ModelFiles(model, snapshot)
        for folder in _older_modelscope(cache, model) if revision in (None, "main", "master") else ():
            if is_whole(folder):
                return ModelFiles(model, folder)
    return ModelFiles(model, None)


def cache_folders(environ: Mapping[str, str], base_path: str | None = None) -> tuple[Path, ...]:
    """The caches to look into: Hugging Face's by the environment, the volume's at `base_path`, then ModelScope's."""
    home = environ.get("HF_HOME") or "~/.cache/huggingface"
    own = environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE") or f"{home}/hub"
    folders = [Path(own).expanduser()]
    if base_path:
        volume = Path(base_path) / "huggingface-cache"
        folders += [volume / "hub", volume]
    scope = Path(environ.get("MODELSCOPE_CACHE") or "~/.cache/modelscope").expanduser()
    folders += [scope, scope / "hub"]
    return tuple(dict.fromkeys(folders))


def writable(path: str) -> Path | None:
    """The folder at that path where there is one that can be written, e.g. the volume that outlives a worker."""
    folder = Path(path).expanduser()
    return folder if path and folder.is_dir() and os.access(folder, os.W_OK) else None


def hub_environ(
    environ: Mapping[str, str], base_path: str, token: SecretStr | None = None, *, baked: bool = False
) -> dict[str, str]:
    """`environ` as an engine with a hub client of its own should see it.

    Args:
        base_path: where a volume may be; what is downloaded goes there, unless the environment says otherwise.
        baked: whether the model is part of the image, so that the hub need not be asked for it.
    """
    found = dict(environ)
    if token is not None:
        found["HF_TOKEN"] = token.get_secret_value()
    if baked:
        found.setdefault("HF_HUB_OFFLINE", "1")
        found.setdefault("TRANSFORMERS_OFFLINE", "1")
    volume = writable(base_path)
    if volume is not None and not found.keys() & {"HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}:
        found["HF_HOME"] = str(volume / "huggingface-cache")
    return found


def is_whole(folder: Path) -> bool:
    """Whether a snapshot has weights, and every file that its weight index names."""
    for index in folder.glob("*.index.json"):
        try:
            names = set(json.loads(index.read_bytes())["weight_map"].values())
        except (OSError, ValueError, KeyError, AttributeError):
            return False
        return all((folder / name).exists() for name in names)
    return bool(weights(folder))


def weights(path: Path) -> list[Path]:
    """The weight files at a path, sorted: of the first format that is there, safetensors before others."""
    if path.is_file():
        return [path]
    found = (sorted(file for file in path.glob(pattern) if file.is_file()) for pattern in _WEIGHTS)
    return next((files for files in found if files), [])


def _name_of(path: Path) -> str:
    for part in reversed(path.absolute().parts):
        if match := _CACHE_FOLDER.match(part):
            return match[1].replace("--", "/")
    return path.resolve().name


def _folders(cache: Path, wanted: str) -> Iterator[Path]:
    """Folders of that name in `cache`: in its own case first, then in any other."""
    if (cache / wanted).is_dir():
        yield cache / wanted
    if cache.is_dir():
        yield from (found for found in cache.iterdir() if found.name != wanted and found.name.lower() == wanted.lower())


def _older_modelscope(cache: Path, model: str) -> Iterator[Path]:
    """Where ModelScope's older clients put a model; they keep one revision, and name none."""
    organisation, slash, name = model.partition("/")
    if slash:
        for kept in dict.fromkeys((name.replace(".", "___"), name)):
            yield from (cache / "models" / organisation / kept, cache / organisation / kept)


def _snapshots(folder: Path, revision: str | None) -> Iterator[Path]:
    """The snapshot of a revision; without a revision and a note of `main`, the only one there is."""
    snapshots = folder / "snapshots"
    try:
        commit = (folder / "refs" / (revision or "main")).read_text().strip()
    except OSError:
        commit = revision or ""
    if commit and (snapshots / commit).is_dir():
        yield snapshots / commit
    elif revision in (None, "main") and snapshots.is_dir():
        found = [path for path in snapshots.iterdir() if path.is_dir()]
        if len(found) == 1:
            yield found[0]
