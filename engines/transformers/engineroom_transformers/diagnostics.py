"""Why a model cannot be loaded: what the exceptions of transformers and torch mean. tests/start_failures has them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from engineroom.server import LIBRARY_CAUSES, Cause, Diagnostics

_FIT = "take a smaller model or a QUANTIZATION, or set a lower KV_CACHE_TOKENS"


def _cache(match: re.Match[str], variables: Mapping[str, str]) -> str:
    needed = int(match["needed"]) / 1e9
    left = int(match["left"]) / 1e9
    if "KV_CACHE_TOKENS" in variables:
        setting = f"KV_CACHE_TOKENS={variables['KV_CACHE_TOKENS']}"
        return f"{setting} needs {needed:,.0f} GB, and {left:,.1f} GB are left: lower it"
    return f"the KV cache needs {needed:,.1f} GB, and {left:,.1f} GB are left: {_FIT}"


_CAUSES = (
    Cause(r"Memory footprint (?P<needed>\d+) is more than available memory (?P<left>\d+)", _cache),
    Cause(
        r"Tried to allocate (?P<size>[\d.]+ \w+)", "MODEL_NAME={MODEL_NAME} does not fit: {size} are missing. " + _FIT
    ),
    Cause(
        r"out of memory|MemoryError|can't allocate memory", "MODEL_NAME={MODEL_NAME} does not fit into memory: " + _FIT
    ),
    Cause(
        r"Torch not compiled with CUDA enabled|No CUDA GPUs are available|Found no NVIDIA driver|invalid device "
        r"ordinal",
        "DEVICE={DEVICE} is not there for the torch that is installed: set DEVICE=cpu, or install torch for CUDA on a "
        "machine with such a GPU",
    ),
    Cause(
        r"(?P<kernel>Flash\w*Attention\w*) has been toggled on, but it cannot be used",
        "ATTN_IMPLEMENTATION={ATTN_IMPLEMENTATION} needs the package of {kernel}, which is not installed: install it, "
        "or leave ATTN_IMPLEMENTATION out",
    ),
    Cause(
        r"Specified `attn_implementation=\"(?P<value>[^\"]+)\"` is not supported",
        "ATTN_IMPLEMENTATION={value} is not supported by this model; sdpa and eager are. If it is unset, the "
        "best one is used",
    ),
    Cause(
        r"[Uu]sing `?bitsandbytes`?[^\n]* requires|requires the latest version of bitsandbytes|"
        r"No package metadata was found for bitsandbytes",
        "QUANTIZATION={QUANTIZATION} needs the package bitsandbytes, which is not installed: install it, or leave "
        "QUANTIZATION out",
    ),
    Cause(
        r"Unrecognized model in (?P<where>\S+)\. Should have a `model_type`",
        "MODEL_NAME={MODEL_NAME} has no config.json with a model_type: add the one of the model's page, or name the "
        "folder that has it",
    ),
    Cause(
        r"No such file or directory: ['\"]?(?P<file>/\S+?(?:safetensors|\.bin))['\"]?(?:\s|$)",
        "{file} is missing, a part of the weights of MODEL_NAME={MODEL_NAME}: download them again",
    ),
    Cause(
        r"set `ignore_mismatched_sizes` to `False`|size mismatch for",
        "the weights of MODEL_NAME={MODEL_NAME} do not have the shapes that its config.json says: one of them "
        "belongs to "
        "another model. Download both again",
    ),
    Cause(
        r"has no `general\.architecture` in its metadata|Error reading (?:GGUF|gguf)|GGUF magic invalid",
        "MODEL_NAME={MODEL_NAME} is damaged, or not a GGUF model: its header cannot be read. Download it again",
    ),
    Cause(
        r"GGUF model with architecture (?P<name>\S+) is not supported",
        "MODEL_NAME={MODEL_NAME} is a GGUF file of the architecture {name}, which transformers does not read: take the "
        "model's safetensors, or an engine for GGUF files",
    ),
    Cause(
        r"KeyError: 'added_tokens'|data did not match any variant of untagged enum|(?:expected|missing field)[^\n]* "
        r"at line "
        r"\d+ column \d+",
        "tokenizer.json of MODEL_NAME={MODEL_NAME} is damaged, or made for other versions of the libraries: download "
        "it "
        "again",
    ),
    Cause(
        r"(?P<why>The hidden size \(\d+\) is not a multiple of the number of attention heads \(\d+\))",
        "config.json of MODEL_NAME={MODEL_NAME} contradicts itself ({why}): download it again, or correct it",
    ),
    *LIBRARY_CAUSES,
)

DIAGNOSTICS = Diagnostics(causes=_CAUSES)
