"""How much memory a model's weights need once they are loaded, from what their files' headers say."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

QUANTISED_AT_LOAD: Mapping[str, float] = {"fp8": 1.0, "bitsandbytes": 0.5 + 4 / 64}
"""Bytes of a number for what engines can make of unquantised weights while they load them. bitsandbytes keeps 4 bits,
and a scale in 32 bits for each 64 numbers."""

_FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")
_NEXT_TOKENS = re.compile(r"(?:^|\.)mtp(?:_layers)?\.")
_NOT_LINEAR = re.compile(r"embed|lm_head|norm|\.gate\.weight$|router|bias$|wte|wpe|conv1d|A_log|dt_bias")


class StoredTensor(NamedTuple):
    """A tensor as a file's header describes it.

    type: safetensors' name for its numbers, e.g. `BF16`.
    stored_bytes: its size in the file.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    stored_bytes: int

    @property
    def numbers(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights in memory, all parts together.

    by_type: type of number -> bytes; for GGUF, the name of the quantisation.
    quantisation: what they are quantised with, in people's words; empty where they are not.
    """

    total_bytes: int
    by_type: Mapping[str, int]
    quantisation: str = ""


def loaded(
    tensors: Iterable[StoredTensor],
    *,
    layers: int,
    tied: bool,
    quantisation: str = "",
    compute_bytes: int = 2,
    at_load: str = "",
) -> Weights:
    """What is in memory of a model's tensors.

    Of what the files hold, engines leave out the heads that predict several tokens ahead, and an output matrix that is
    the embedding once more. Numbers in 32 bits of an unquantised model become those that it computes with.

    Args:
        layers: the model's layers; those beyond are for predicting ahead.
        tied: whether the output matrix is the embedding.
        quantisation: how the files are quantised.
        at_load: one of `QUANTISED_AT_LOAD`, or empty.
    """
    by_type: dict[str, int] = {}
    for tensor in tensors:
        layer = _LAYER.search(tensor.name)
        if _NEXT_TOKENS.search(tensor.name) or (layer and int(layer[1]) >= layers and "vision" not in tensor.name):
            continue
        if tied and tensor.name.endswith("lm_head.weight"):
            continue
        name = tensor.type
        size = tensor.stored_bytes
        if at_load and name in _FLOATS and len(tensor.shape) >= 2 and not _NOT_LINEAR.search(tensor.name):
            name = at_load
            size = int(tensor.numbers * QUANTISED_AT_LOAD[at_load])
        elif not quantisation and name in ("F32", "F64"):
            name = "16 bit"
            size = tensor.numbers * compute_bytes
        by_type[name] = by_type.get(name, 0) + size
    return Weights(sum(by_type.values()), by_type, quantisation or at_load)


def quantisation_of(config: Mapping[str, object]) -> str:
    """How a model's `config.json` says that it is quantised, e.g. `awq 4 bit`; empty where it is not."""
    quantised = config.get("quantization_config") or config.get("compression_config")
    if not isinstance(quantised, Mapping):
        return ""
    method = str(quantised.get("quant_method") or quantised.get("quant_algo") or "quantised")
    bits = quantised.get("bits") or quantised.get("w_bit")
    if not bits and quantised.get("load_in_4bit"):
        bits = 4
    if not bits and quantised.get("load_in_8bit"):
        bits = 8
    return f"{method} {bits} bit" if bits else method
