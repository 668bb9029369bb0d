"""Which GGUF files of a folder or a repository are one model: a quantisation, its parts, and its projector."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..errors import EngineroomError

_USUAL = ("Q4_K_M", "Q4_K_S", "Q5_K_M", "Q4_0", "Q4_1", "Q8_0", "F16", "BF16")
"""What is taken where nobody says which: what most people take, and then what comes nearest to it."""

_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
_QUANTISATION = re.compile(r"[-._]((?:UD-)?(?:I?Q\d\w*|T?Q\d_\d|MXFP4\w*|B?F16|F32|FP16|FP32))$", re.IGNORECASE)


class ModelChoiceError(EngineroomError):
    """Which files are the model is not clear, or there are none; the text says which there are."""


class GGUFChoice(NamedTuple):
    """One model among GGUF files.

    first: the file to load, the first of its parts.
    parts: the whole model: that file, and the others where it is split.
    projector: its `mmproj` file, which images and sound need; None where there is none.
    others: the other models that there were to choose from.
    """

    first: str
    parts: tuple[str, ...]
    projector: str | None
    others: tuple[str, ...]

    @property
    def files(self) -> tuple[str, ...]:
        return self.parts if self.projector is None else (*self.parts, self.projector)


def choose(names: Iterable[str], where: str, wanted: str = "") -> GGUFChoice:
    """The model that is meant.

    Args:
        names: files of a folder or a repository, with `/` between their parts.
        where: what to call that in an error.
        wanted: a quantisation (`Q8_0`) or a file's name; the usual quantisation where it is empty.

    Raises:
        ModelChoiceError: there is none, or several and nothing says which.
    """
    files = sorted(name for name in names if name.endswith(".gguf"))
    projectors = [name for name in files if _is_projector(name)]
    models = [name for name in files if is_model(name)]
    candidates = _candidates(models, wanted)
    if len(candidates) != 1:
        raise ModelChoiceError(_unclear(models, candidates, where, wanted))
    first = candidates[0]
    stem = _PART.sub("", first)
    parts = [name for name in files if _PART.search(name) and _PART.sub("", name) == stem]
    missing = _missing_parts(first, parts)
    if missing:
        raise ModelChoiceError(f"{where}: {missing} of the {_total(first)} parts of {first} are missing")
    others = tuple(name for name in models if name != first)
    return GGUFChoice(first, tuple(parts or [first]), _projector(projectors, first), others)


def quantisation(name: str) -> str:
    """The quantisation that a GGUF file's name ends in, e.g. `Q4_K_M`; empty where it has none."""
    match = _QUANTISATION.search(_stem(name))
    return match[1].upper() if match else ""


def is_model(name: str) -> bool:
    """Whether a file's name is that of a model, or of the first of its parts."""
    return name.endswith(".gguf") and _is_first(name) and not _is_projector(name)


def _candidates(models: Sequence[str], wanted: str) -> Sequence[str]:
    if wanted:
        named = [name for name in models if name == wanted or name.endswith(f"/{wanted}")]
        return named or [name for name in models if wanted.lower() in _words(name)]
    if len(models) == 1:
        return models
    by_quantisation = ([name for name in models if usual.lower() in _words(name)] for usual in _USUAL)
    return next((some for some in by_quantisation if some), [])


def _unclear(models: Sequence[str], candidates: Sequence[str], where: str, wanted: str) -> str:
    if not models:
        return f"{where} has no GGUF file"
    listed = ", ".join(name.rsplit("/", 1)[-1] for name in candidates or models)
    if wanted and not candidates:
        return f"{where} has no GGUF file {wanted}; it has {listed}"
    return f"{where} has several GGUF models: {listed}; name one of them after a colon"


def _missing_parts(first: str, parts: Sequence[str]) -> int:
    return _total(first) - len(parts) if _PART.search(first) else 0


def _total(first: str) -> int:
    match = _PART.search(first)
    return int(match[2]) if match else 1


def _projector(projectors: Sequence[str], model: str) -> str | None:
    """The projector in the model's own folder, or a folder above; of several the one in 16 bits."""
    folder = model.rpartition("/")[0]
    beside = [name for name in projectors if name.rpartition("/")[0] in (folder, "")]
    in_16_bits = [name for name in beside if "f16" in _words(name)]
    return next(iter(in_16_bits or beside), None)


def _is_projector(name: str) -> bool:
    return "mmproj" in name.rsplit("/", 1)[-1].lower()


def _is_first(name: str) -> bool:
    match = _PART.search(name)
    return match is None or int(match[1]) == 1


def _stem(name: str) -> str:
    return _PART.sub("", name).rsplit("/", 1)[-1].removesuffix(".gguf")


def _words(name: str) -> set[str]:
    """What a file may be asked for by: `Qwen3-8B-Q4_K_M.gguf` by `q4_k_m`, and by its name."""
    stem = _stem(name).lower()
    return {stem, *re.split(r"[-.]", stem), quantisation(name).lower()} - {""}
