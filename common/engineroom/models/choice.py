"""Which files of a repository are the model: one format of weights, and what is beside them."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch
from typing import NamedTuple

from . import gguf
from .formats import FORMAT_NAMES, ModelFormat, graph_files
from .formats import formats as formats_of

_USUAL: tuple[ModelFormat, ...] = ("safetensors", "pytorch", "pdparams", "ir", "gguf")
_BESIDE = ("*.json", "*.jinja", "*.model", "*.py", "*.tiktoken", "*.txt")
_NOT_WANTED = ("original/*", "onnx/*", "openvino/*", "*/.*")
"""The same model once more, in forms that no engine here loads."""


class ChosenFiles(NamedTuple):
    """The files to take.

    first: the GGUF file to load; empty for a model that is a folder.
    note: what the user should know about the choice; empty where there was none.
    """

    files: tuple[str, ...]
    first: str = ""
    note: str = ""


def choose_files(names: Sequence[str], where: str, formats: Sequence[str] = (), wanted: str = "") -> ChosenFiles:
    """The files of a model.

    Args:
        names: all files of the repository.
        where: its name, for an error.
        formats: the formats of weights that the engine loads, the best first; by default any, GGUF last.
        wanted: the quantisation or GGUF file that is meant.

    Raises:
        ModelChoiceError: there are no weights, or which of the GGUF files is meant is not clear.
    """
    usable = [name for name in names if not _repeats(name)]
    there = formats_of(usable)
    best = next((form for form in formats or _USUAL if form in there), None)
    if wanted or best == "gguf":
        model = gguf.choose(names, where, wanted)
        return ChosenFiles(model.files, model.first, "" if wanted else _others(model, where))
    if best is None:
        has = " and ".join(sorted(FORMAT_NAMES[form] for form in there)) or "no"
        takes = " or ".join(FORMAT_NAMES[form] for form in _USUAL if form in (formats or _USUAL))
        raise gguf.ModelChoiceError(
            f"{where} has {has} weights, and the engine loads {takes}: unset ENGINE, and an engine that can is selected"
        )
    weights = graph_files(usable) if best == "ir" else [name for name in usable if formats_of([name]) == {best}]
    return ChosenFiles((*weights, *beside(names)))


def choose_adapter(names: Sequence[str], where: str) -> ChosenFiles:
    """The files of a LoRA adapter in PEFT's layout. Weights that are pickled are not taken: they can hold code.

    Args:
        names: all files of the repository or folder.
        where: its name, for an error.

    Raises:
        ModelChoiceError: it is no adapter, or has no safetensors.
    """
    if "adapter_config.json" not in names:
        raise gguf.ModelChoiceError(f"{where} is no LoRA adapter: it has no adapter_config.json")
    weights = [name for name in names if fnmatch(name, "adapter_model*.safetensors")]
    if not weights:
        raise gguf.ModelChoiceError(f"{where} has no adapter_model.safetensors; pickled weights are not loaded")
    return ChosenFiles((*weights, *(name for name in beside(names) if "/" not in name)))


def _others(model: gguf.GGUFChoice, where: str) -> str:
    """That there are other quantisations, and how to name one."""
    names = [gguf.quantisation(name) or name for name in model.others]
    if not names:
        return ""
    chosen = gguf.quantisation(model.first) or model.first
    return f"{where}: using {chosen}; it also has {', '.join(names)}, named as {where}:{names[-1]}"


def beside(names: Sequence[str]) -> tuple[str, ...]:
    """The small files that belong to a model's weights: its configuration, its tokenizer, its code."""
    return tuple(name for name in names if any(fnmatch(name, pattern) for pattern in _BESIDE) and not _repeats(name))


def _repeats(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in _NOT_WANTED)
