"""Which models are on this machine: in the hubs' caches, on the volume, and in folders that somebody names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from . import gguf
from .files import is_whole, weights
from .formats import FORMAT_NAMES, ModelFormat, adapter_base, formats_at, model_config

_HF_PREFIX = "models--"
_DEPTH = 2
"""How deep in a named folder models are looked for."""


class LocalModel(NamedTuple):
    """One model on this machine.

    name: what MODEL_NAME takes: a repository, with a quantisation if it is one of several, or a path.
    place: its file or folder.
    size: bytes, all its parts together.
    formats: the formats of its weights.
    detail: its quantisation or its number type, e.g. `Q4_K_M`, `bfloat16`, `awq 4 bit`; empty where that is unknown.
    whole: whether nothing of it is missing.
    """

    name: str
    place: Path
    size: int
    formats: frozenset[ModelFormat]
    detail: str = ""
    whole: bool = True

    @property
    def form(self) -> str:
        """Its format and quantisation for people, e.g. `GGUF Q4_K_M`."""
        return " ".join([*sorted(FORMAT_NAMES[each] for each in self.formats), self.detail]).strip()


def in_caches(caches: Iterable[Path]) -> Iterator[LocalModel]:
    """The models in caches of Hugging Face's client, and in those of ModelScope's; unfinished downloads, too."""
    for cache in caches:
        for folder in _folders(cache):
            if folder.name.startswith(_HF_PREFIX):
                yield from _in_repository(folder, folder.name.removeprefix(_HF_PREFIX).replace("--", "/", 1))
        for folder in _folders(cache / "models"):
            if "--" in folder.name and (folder / "snapshots").is_dir():
                yield from _in_repository(folder, folder.name.replace("--", "/", 1))


def in_folder(folder: Path, depth: int = _DEPTH) -> Iterator[LocalModel]:
    """The models in a folder that is no cache, and in those inside it."""
    if folder.name.startswith((".", _HF_PREFIX)):
        return
    yield from _at(folder, None)
    if depth:
        for inner in _folders(folder):
            yield from in_folder(inner, depth - 1)


def at_file(path: Path, name: str | None = None) -> LocalModel | None:
    """The model in one file; None where it is none."""
    kinds = formats_at(path)
    if not kinds or not path.is_file() or adapter_base(path) is not None:
        return None
    return LocalModel(name or str(path), path, path.stat().st_size, kinds, gguf.quantisation(path.name))


def _in_repository(folder: Path, name: str) -> Iterator[LocalModel]:
    snapshot = _snapshot(folder)
    models = list(_at(snapshot, name)) if snapshot is not None else []
    yield from models
    unfinished = [file for file in (folder / "blobs").glob("*.incomplete") if file.is_file()]
    if unfinished and all(model.whole for model in models):
        size = sum(file.stat().st_size for file in unfinished)
        yield LocalModel(name, folder, size, frozenset(), whole=False)


def _snapshot(folder: Path) -> Path | None:
    """The snapshot that `main` stands for, else the newest."""
    try:
        return folder / "snapshots" / (folder / "refs" / "main").read_text().strip()
    except OSError:
        snapshots = sorted(_folders(folder / "snapshots"), key=lambda path: path.stat().st_mtime)
        return snapshots[-1] if snapshots else None


def _at(folder: Path, repository: str | None) -> Iterator[LocalModel]:
    """The models that a folder is or has: each quantisation of GGUF is one, other weights are one together."""
    if not folder.is_dir() or adapter_base(folder) is not None:
        return
    files = folder.rglob("*.gguf") if repository else folder.glob("*.gguf")
    yield from _quantisations(folder, [file.relative_to(folder).as_posix() for file in files], repository)
    kinds = formats_at(folder) - {"gguf"}
    if not kinds:
        return
    whole = is_whole(folder)
    if whole or any(folder.glob("*.index.json")):
        size = sum(file.stat().st_size for file in weights(folder))
        yield LocalModel(repository or str(folder), folder, size, kinds, _number_type(folder), whole)


def _quantisations(folder: Path, names: Sequence[str], repository: str | None) -> Iterator[LocalModel]:
    firsts = [name for name in names if gguf.is_model(name)]
    for name in sorted(firsts):
        try:
            parts = gguf.choose(names, str(folder), name).parts
            whole = True
        except gguf.ModelChoiceError:
            parts = (name,)
            whole = False
        path = folder / name
        if adapter_base(path) is not None or not path.exists():
            continue
        quantisation = gguf.quantisation(name)
        if repository is None:
            called = str(path)
        else:
            called = repository if len(firsts) == 1 else f"{repository}:{quantisation or name}"
        size = sum((folder / part).stat().st_size for part in parts)
        yield LocalModel(called, path, size, frozenset({"gguf"}), quantisation, whole)


def _number_type(folder: Path) -> str:
    config = model_config(folder)
    quantised = config.get("quantization_config")
    if isinstance(quantised, dict) and quantised:
        bits = quantised.get("bits") or quantised.get("w_bit")
        return f"{quantised.get('quant_method', 'quantised')}{f' {bits} bit' if bits else ''}"
    return str(config.get("dtype") or config.get("torch_dtype") or "")


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return []
