"""A model's size and shape: from a folder or file of this machine, or from the headers that the hub has."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from engineroom.models import HubError, cache_folders, explain, gguf, is_path, reference, resolve

from . import config_json, gguf_header
from .architecture import Architecture
from .errors import ModelReadingError
from .weights import StoredTensor, Weights, loaded, quantisation_of

_TIMEOUT_S = 10
_TOGETHER = 8
"""Headers that are fetched at the same time."""

_LARGEST_HEADER = 100_000_000
_PICKLED = (".bin", ".pt", ".pth")


@dataclass(frozen=True, slots=True)
class ModelMemory:
    """What has to be known of a model to say what memory it needs.

    name: as the user wrote it.
    format: `gguf` or `safetensors`, or `pytorch` for pickled weights, whose types are not known before a download.
    stored_bytes: what has to be downloaded.
    note: what was assumed where the files do not say it; empty where nothing was.
    """

    name: str
    format: Literal["gguf", "safetensors", "pytorch"]
    architecture: Architecture
    weights: Weights
    stored_bytes: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class _ModelPlace:
    """Where a model's files are. names: file -> bytes. read: the first so many bytes of a file, or all of it."""

    name: str
    names: Mapping[str, int]
    read: Callable[[str, int | None], bytes]
    tensors: Callable[[str], Sequence[StoredTensor]]


def read_model(
    model: str, revision: str | None = None, at_load: str = "", environ: Mapping[str, str] = os.environ
) -> ModelMemory:
    """Look a model up.

    Args:
        model: a folder, a GGUF file, `org/name`, `org/name:Q8_0`, or an address copied from a browser.
        revision: a branch, tag or commit of the hub.
        at_load: how the engine quantises it while loading; see `QUANTISED_AT_LOAD`.
        environ: the hub's variables: HF_ENDPOINT, HF_TOKEN, HF_HOME.

    Raises:
        HubError: the hub has no such model, does not let us see it, or cannot be reached.
        ModelChoiceError: there are several models, and which is meant is not clear.
        ModelReadingError: what is there does not say what is needed.
    """
    if not model.strip():
        raise ModelReadingError("which model? Name a repository of a hub, a folder or a GGUF file")
    named = reference.parse(model, environ)
    if named.path is not None:
        place, wanted = _at_path(named.path)
        return replace(_read(place, wanted, at_load), name=model)
    if is_path(named.name):
        raise ModelReadingError(f"there is no file or folder {named.name} here")
    if named.repository is None:
        raise ModelReadingError(
            f"{model} is neither a file or folder here nor a repository of a hub; repositories are called `org/name`"
        )
    revision = revision or named.revision
    folder = resolve(named.repository, revision, cache_folders(environ)).folder
    place = _folder(folder) if folder is not None else _repository(named.repository, revision, environ)
    return replace(_read(place, named.wanted, at_load), name=model)


def _read(place: _ModelPlace, wanted: str, at_load: str) -> ModelMemory:
    has_config = "config.json" in place.names
    files = [name for name in place.names if name.endswith(".safetensors") and "/" not in name]
    if wanted or not (files or has_config) or (not files and any(gguf.is_model(name) for name in place.names)):
        return _read_gguf(place, wanted)
    if not has_config:
        raise ModelReadingError(f"{place.name} has no config.json: its shape cannot be read")
    config = _config(place)
    architecture = config_json.read(config, f"{place.name}: config.json")
    if not files:
        return _read_pickled(place, architecture)
    chosen = _of_index(place, files)
    with ThreadPoolExecutor(_TOGETHER) as pool:
        tensors = [tensor for of_file in pool.map(place.tensors, chosen) for tensor in of_file]
    quantisation = quantisation_of(config) or quantisation_of(config_json.text_part(config))
    weights = loaded(
        tensors,
        layers=architecture.layers,
        tied=bool(config.get("tie_word_embeddings", config_json.text_part(config).get("tie_word_embeddings"))),
        quantisation=quantisation,
        compute_bytes=architecture.compute_bytes,
        at_load="" if quantisation else at_load,
    )
    note = ""
    if quantisation and at_load:
        note = f"it is quantised already ({quantisation}), so {at_load} while loading changes nothing"
    stored = sum(place.names[name] for name in chosen)
    return ModelMemory(place.name, "safetensors", architecture, weights, stored, note)


def _config(place: _ModelPlace) -> Mapping[str, Any]:
    try:
        config = json.loads(place.read("config.json", None))
    except ValueError as error:
        raise ModelReadingError(f"{place.name}: config.json is no JSON: {error}") from error
    if not isinstance(config, dict):
        raise ModelReadingError(f"{place.name}: config.json is no JSON object")
    return config


def _of_index(place: _ModelPlace, files: Sequence[str]) -> Sequence[str]:
    """The files that the index names; without one, those that are not the same weights in the maker's own layout."""
    index = next((name for name in place.names if name.endswith(".safetensors.index.json") and "/" not in name), None)
    if index is not None and "model.safetensors" not in files:
        try:
            listed = sorted(set(json.loads(place.read(index, None))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError) as error:
            raise ModelReadingError(f"{place.name}: {index} is no index of weights: {error}") from error
        missing = [name for name in listed if name not in place.names]
        if missing:
            raise ModelReadingError(f"{place.name} lacks {', '.join(missing)}, which its index names")
        return listed
    plain = [name for name in files if not name.startswith("consolidated")]
    return sorted(plain or files)


def _read_gguf(place: _ModelPlace, wanted: str) -> ModelMemory:
    choice = gguf.choose(place.names, place.name, wanted)
    fields = gguf_header.read_fields(place.read(choice.first, gguf_header.HEAD_BYTES), choice.first)
    shape = gguf_header.architecture(fields, choice.first)
    sizes = sum(place.names[name] for name in choice.files)
    quantisation = gguf.quantisation(choice.first) or "GGUF"
    if choice.projector is not None:
        shape = replace(shape, sees=True)
    return ModelMemory(place.name, "gguf", shape, Weights(sizes, {quantisation: sizes}, quantisation), sizes)


def _read_pickled(place: _ModelPlace, architecture: Architecture) -> ModelMemory:
    pickled = [name for name in place.names if name.endswith(_PICKLED) and "/" not in name]
    files = [name for name in pickled if not name.startswith(("training_args", "optimizer", "scheduler"))]
    size = sum(place.names[name] for name in files)
    if not size:
        raise ModelReadingError(f"{place.name} has no weights that can be read: no safetensors, GGUF or PyTorch file")
    note = "its weights are pickled: their size is that of the files, as they are stored"
    return ModelMemory(place.name, "pytorch", architecture, Weights(size, {"pytorch": size}), size, note)


def _at_path(path: Path) -> tuple[_ModelPlace, str]:
    """A folder, or the file's folder and the file's name."""
    if path.is_dir():
        return _folder(path), ""
    if path.suffix == ".gguf":
        return _folder(path.parent), path.name
    return _folder(path.parent), ""


def _folder(folder: Path) -> _ModelPlace:
    # Repositories have their files at the top, or one folder for each quantisation.
    files = [file for pattern in ("*", "*/*") for file in folder.glob(pattern) if file.is_file()]
    names = {file.relative_to(folder).as_posix(): file.stat().st_size for file in files}

    def read(name: str, limit: int | None) -> bytes:
        with (folder / name).open("rb") as file:
            return file.read() if limit is None else file.read(limit)

    def tensors(name: str) -> Sequence[StoredTensor]:
        with (folder / name).open("rb") as file:
            prefix = file.read(8)
            length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else _LARGEST_HEADER + 1
            if length > _LARGEST_HEADER:
                raise ModelReadingError(f"{folder / name} is no safetensors file")
            try:
                header = json.loads(file.read(length))
            except ValueError as error:
                raise ModelReadingError(f"{folder / name} is no safetensors file: {error}") from error
        return [_stored(key, about) for key, about in header.items() if key != "__metadata__"]

    return _ModelPlace(str(folder), names, read, tensors)


def _stored(name: str, about: Mapping[str, Any]) -> StoredTensor:
    first, last = about["data_offsets"]
    return StoredTensor(name, about["dtype"], tuple(about["shape"]), last - first)


def _repository(repository: str, revision: str | None, environ: Mapping[str, str]) -> _ModelPlace:
    """A repository of the hub. Nothing of it is kept on this machine."""
    from huggingface_hub import HfApi, get_session, hf_hub_url
    from huggingface_hub.utils._headers import build_hf_headers
    from huggingface_hub.utils._http import hf_raise_for_status

    token = environ.get("HF_TOKEN")
    api = HfApi(endpoint=environ.get("HF_ENDPOINT"), token=token)
    headers = build_hf_headers(token=token)

    def explained(error: Exception) -> Exception:
        reason = explain(repository, f"{type(error).__name__}: {error} {error.__cause__!r}", token)
        if reason is not None:
            # Here the model and its revision are arguments, and no settings.
            reason = reason.replace("check MODEL_NAME", "check its name").replace("MODEL_REVISION", "the revision")
        return HubError(reason or f"the hub's answer about {repository} cannot be read: {' '.join(str(error).split())}")

    def read(name: str, limit: int | None) -> bytes:
        wanted = {} if limit is None else {"Range": f"bytes=0-{limit - 1}"}
        url = hf_hub_url(repository, name, revision=revision, endpoint=environ.get("HF_ENDPOINT"))
        try:
            response = get_session().get(url, headers={**headers, **wanted}, timeout=_TIMEOUT_S)
            hf_raise_for_status(response)
        except Exception as error:  # The client has no common base class of its own.
            raise explained(error) from error
        content: bytes = response.content
        return content if limit is None else content[:limit]

    def tensors(name: str) -> Sequence[StoredTensor]:
        try:
            header = api.parse_safetensors_file_metadata(repository, name, revision=revision, timeout=_TIMEOUT_S)
        except Exception as error:  # As above.
            raise explained(error) from error
        return [
            StoredTensor(key, about.dtype, tuple(about.shape), about.data_offsets[1] - about.data_offsets[0])
            for key, about in header.tensors.items()
        ]

    try:
        info = api.model_info(repository, revision=revision, files_metadata=True, timeout=_TIMEOUT_S)
    except Exception as error:  # As above.
        raise explained(error) from error
    return _ModelPlace(repository, {each.rfilename: each.size or 0 for each in info.siblings or ()}, read, tensors)
