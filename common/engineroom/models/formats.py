"""What a model's files are: weights of which format, or an adapter that belongs to a model. Nothing is loaded."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias, cast

ModelFormat: TypeAlias = Literal["gguf", "safetensors", "pytorch", "pdparams", "onnx", "ir"]
"""A format of weights. `pytorch` stands for pickled state dicts (`pytorch_model.bin`, `*.pt`, `*.pth`), `ir` for graphs
(`*.xml`) that have their weights beside them (`*.bin`)."""

FORMAT_NAMES: dict[ModelFormat, str] = {
    "gguf": "GGUF",
    "safetensors": "safetensors",
    "pytorch": "PyTorch",
    "pdparams": "pdparams",
    "onnx": "ONNX",
    "ir": "OpenVINO IR",
}
"""The formats as people write them."""

_SUFFIXES: dict[str, ModelFormat] = {
    ".gguf": "gguf",
    ".safetensors": "safetensors",
    ".bin": "pytorch",
    ".pt": "pytorch",
    ".pth": "pytorch",
    ".pdparams": "pdparams",
    ".onnx": "onnx",
}
_GENERATES = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
"""How the names of architectures end that generate text."""

_NOT_WEIGHTS = re.compile(r"(?:training_args|optimizer|scheduler|tokenizer|adapter_model|mmproj)[^/]*$", re.IGNORECASE)
_PATH = re.compile(r"[/~\\]|\.{1,2}(?:[/\\]|$)|[A-Za-z]:[/\\]")
"""How a path begins that can be no repository."""

_GGUF_TYPE = b"general.type"
_GGUF_STRING = 8
_HEAD_BYTES = 65536


def formats(names: Iterable[str]) -> frozenset[ModelFormat]:
    """The formats of the weights among the files of a folder or a repository, by their names."""
    names = list(names)
    graphs = set(graph_files(names))
    weights = [name for name in names if not _NOT_WEIGHTS.search(name.rsplit("/", 1)[-1])]
    suffixes = {Path(name).suffix.lower() for name in weights if name not in graphs}
    known = {_SUFFIXES[suffix] for suffix in suffixes & _SUFFIXES.keys()}
    return frozenset(known | {"ir"} if graphs.intersection(weights) else known)


def graph_files(names: Iterable[str]) -> list[str]:
    """The files of graphs in OpenVINO's intermediate representation: each `.xml` with the `.bin` of its weights."""
    ends = {".xml": ".bin", ".bin": ".xml"}
    names = list(names)
    return [name for name in names if name[-4:] in ends and name[:-4] + ends[name[-4:]] in names]


def formats_at(path: Path) -> frozenset[ModelFormat]:
    """The formats of the weights at a path, a file or a folder; empty where there are none that are known."""
    if path.is_dir():
        return formats(file.name for file in path.iterdir() if file.is_file())
    return formats([path.name])


def generates(architectures: Iterable[str]) -> bool:
    """Whether a model generates text, by the `architectures` of its `config.json`; otherwise it makes vectors."""
    return any(str(name).endswith(_GENERATES) for name in architectures)


def model_config(folder: Path) -> dict[str, Any]:
    """A model's `config.json`, in the folder that has its weights; empty where there is none that can be read."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def adapter_base(path: Path) -> str | None:
    """The model that an adapter at a path belongs to, empty where it does not say; None where it is no adapter.

    A folder is one in PEFT's layout: `adapter_config.json` without weights of a whole model. A GGUF file says it.
    """
    config = path / "adapter_config.json"
    if config.is_file() and not formats_at(path):
        try:
            return str(json.loads(config.read_bytes()).get("base_model_name_or_path") or "")
        except (OSError, ValueError, AttributeError):
            return ""
    if path.is_file() and _gguf_type(path) == "adapter":
        return ""
    return None


def is_path(model: str) -> bool:
    """Whether a model's name can only be a path of this machine: no repository is called so.

    A name such as `models/small.gguf` is one where the folder `models` is there.
    """
    if _PATH.match(model):
        return True
    if model.count("/") > 1:
        # What is copied from a browser begins with a host's name, a bucket's URL with a scheme; a file of a repository
        # stands behind a colon.
        return ":" not in model and "." not in model.partition("/")[0]
    if Path(model).suffix.lower() not in _SUFFIXES or ":" in model:
        return False
    return "/" not in model or Path(model).parent.is_dir()


def _gguf_type(path: Path) -> str | None:
    """A GGUF file's `general.type` (`model`, `adapter`, `mmproj`), where it stands near the file's beginning."""
    try:
        with path.open("rb") as file:
            return _read_type(file)
    except OSError:
        return None


def _read_type(file: BinaryIO) -> str | None:
    head = file.read(_HEAD_BYTES)
    if not head.startswith(b"GGUF"):
        return None
    # A key is followed by its value's type and, for a string, by that string's length in bytes (little-endian).
    at = head.find(_GGUF_TYPE)
    if at < 0:
        return None
    at += len(_GGUF_TYPE)
    if len(head) < at + 12:
        return None
    kind, length = cast("tuple[int, int]", struct.unpack_from("<IQ", head, at))
    return head[at + 12 : at + 12 + length].decode("utf-8", "replace") if kind == _GGUF_STRING else None
