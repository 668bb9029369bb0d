"""Why llama.cpp fails: how its log's lines begin, and what its errors mean. tests/start_failures has them recorded."""

from __future__ import annotations

import re
from collections.abc import Mapping

from engineroom.process import LogFormat
from engineroom.server import Cause, Diagnostics

_LORA = r".*failed to load lora adapter '(?P<path>[^']+)'"
"""The line that names the adapter, after the one that says what is wrong with it."""


def _lora(problem: str) -> str:
    return f"the adapter {{path}} {problem}: take a GGUF adapter that was made for {{MODEL_NAME}}"


def _too_large(match: re.Match[str], variables: Mapping[str, str]) -> str:
    """A buffer that does not fit, and the setting that it grows with."""
    gigabytes = f"{int(match['bytes']) / 1e9:,.1f} GB"
    if match["what"] == "kv cache":
        context = f"CTX_SIZE={variables['CTX_SIZE']}"
        if "CTX_SIZE" not in variables:
            context = "CTX_SIZE is not set, and the model's own context"
        remedy = "set a lower CTX_SIZE, or a smaller CACHE_TYPE_K and CACHE_TYPE_V"
        return f"{context} needs a KV cache of {gigabytes}, which memory has no room for: {remedy}"
    if match["what"] and "compute" in match["what"]:
        set_to = f"UBATCH_SIZE is {variables['UBATCH_SIZE']}, CTX_SIZE is {variables['CTX_SIZE']}"
        return f"the buffers for computing need {gigabytes}, which memory does not have ({set_to}): lower these"
    return f"memory has no room for {gigabytes}: take a smaller model or quantisation, or lower CTX_SIZE"


_SAFE_CONTEXT = 8192
"""Tokens of context, over all slots, that a small GPU has memory for with most models."""


def _smaller(match: re.Match[str], variables: Mapping[str, str]) -> Mapping[str, str]:
    """What grows with the buffer that does not fit, smaller than it is."""
    context = int(variables["CTX_SIZE"]) if "CTX_SIZE" in variables else 0
    if match["what"] == "kv cache" and not 0 < context <= _SAFE_CONTEXT:
        return {"CTX_SIZE": str(_SAFE_CONTEXT)}
    if match["what"] and "compute" in match["what"]:
        return {"UBATCH_SIZE": "128"}
    return {}


def _template(match: re.Match[str], variables: Mapping[str, str]) -> str:
    """A chat template that cannot be parsed, and which one it is."""
    setting = next((name for name in ("CHAT_TEMPLATE_FILE", "CHAT_TEMPLATE") if name in variables), None)
    which = f"{setting}={variables[setting]}" if setting else f"the chat template of {variables['MODEL_NAME']}"
    remedy = "correct it" if setting else "set CHAT_TEMPLATE_FILE to another one"
    return f"{which} is not a valid Jinja template ({' '.join(match['detail'].split())}): {remedy}"


def _architecture(match: re.Match[str], variables: Mapping[str, str]) -> str:
    model = f"MODEL_NAME={variables['MODEL_NAME']}"
    if match["name"] == "clip":
        return (
            f"{model} is a projector for images, not a model: MMPROJ must name it, and MODEL_NAME the model beside it"
        )
    return (
        f"{model} is of the architecture {match['name']}, which this llama.cpp does not know: a newer xllamacpp or "
        "llama-server may, or use another model"
    )


_CAUSES = (
    # Adapters. A file that cannot be read as GGUF at all is told by the lines around it.
    Cause(
        r"(?s)expect general\.type to be 'adapter', but got: (?P<type>\w+)" + _LORA,
        _lora("is a {type}, not an adapter"),
    ),
    Cause(r"(?s)model arch and LoRA arch mismatch" + _LORA, _lora("was made for a model of another architecture")),
    Cause(
        r"(?s)LoRA tensor '(?P<tensor>[^']+)' does not exist in base model" + _LORA,
        _lora("was made for another model (this one has no tensor {tensor})"),
    ),
    Cause(
        r"(?s)failed to apply lora adapter: tensor '(?P<tensor>[^']+)' has incorrect shape" + _LORA,
        _lora("was made for a model of another size (its tensor {tensor} does not fit)"),
    ),
    Cause(
        r"(?s)llama_adapter_lora_init: failed to open '(?P<path>[^']+)': (?P<why>[^\n]+)",
        _lora("cannot be opened ({why})"),
    ),
    Cause(r"(?s)invalid magic characters.*failed to load lora adapter from file" + _LORA, _lora("is not a GGUF file")),
    Cause(r"(?s)failed to apply lora adapter: (?P<why>[^\n]+)" + _LORA, _lora("cannot be applied ({why})")),
    # Projectors.
    Cause(
        r"(?s)invalid magic characters.*Failed to load CLIP model from (?P<path>\S+)",
        "MMPROJ={path} is not a GGUF file: name the projector (mmproj-….gguf) that belongs to {MODEL_NAME}",
    ),
    Cause(
        r"Failed to load CLIP model from (?P<path>\S+)|failed to load multimodal model, '(?P<other>[^']+)'",
        "MMPROJ={MMPROJ} is not a projector that this model can use: name the mmproj-….gguf that belongs to "
        "{MODEL_NAME}",
    ),
    # The model's file.
    Cause(
        r"tensor '(?P<tensor>[^']+)' data is not within the file bounds",
        "MODEL_NAME={MODEL_NAME} is cut short: its tensor {tensor} lies beyond the file's end. Download it again",
    ),
    Cause(
        r"this GGUF file is version (?P<version>\d+) but this software only supports up to version (?P<limit>\d+)",
        "MODEL_NAME={MODEL_NAME} is a GGUF file of version {version}, and this llama.cpp reads up to version "
        "{limit}: update "
        "xllamacpp or llama-server, or take an older file",
    ),
    Cause(
        r"tensor '(?P<tensor>[^']+)' has invalid ggml type (?P<type>\d+)",
        "MODEL_NAME={MODEL_NAME} has a tensor ({tensor}) of the unknown type {type}: the file is damaged, or made "
        "for a newer "
        "llama.cpp. Download it again, or update xllamacpp or llama-server",
    ),
    Cause(r"unknown model architecture: '(?P<name>[^']*)'", _architecture),
    Cause(
        r"unknown pre-tokenizer type: '(?P<name>[^']*)'",
        "MODEL_NAME={MODEL_NAME} has a tokenizer of the kind {name}, which this llama.cpp does not know: a newer "
        "xllamacpp or "
        "llama-server may, or use another conversion of the model",
    ),
    Cause(
        r"key not found in model: (?P<key>\S+)",
        "MODEL_NAME={MODEL_NAME} lacks the entry {key} in its header: it is an adapter or an incomplete conversion. "
        "Take another "
        "file of the model",
    ),
    Cause(
        r"(?:check_tensor_dims: tensor|missing tensor) '(?P<tensor>[^']+)'",
        "MODEL_NAME={MODEL_NAME} lacks the tensor {tensor}: it is an incomplete conversion. Take another file of the "
        "model",
    ),
    Cause(
        r"failed to open GGUF file '(?P<path>[^']+)' \((?P<why>[^)]+)\)",
        "{path} cannot be opened ({why}): all parts of {MODEL_NAME} have to be in one folder, and readable",
    ),
    Cause(
        r"error loading model(?: hyperparameters)?: (?P<why>invalid [^\n]+|[^\n]*wrong shape[^\n]*)",
        "MODEL_NAME={MODEL_NAME} contradicts itself ({why}): it is damaged, or a wrong conversion. Take another file "
        "of the model",
    ),
    Cause(
        r"failed to read (?:key-value pairs|tensor info|header|magic|tensor data)|read error: unexpectedly reached end",
        "MODEL_NAME={MODEL_NAME} is cut short or damaged: its header cannot be read. Download it again",
    ),
    Cause(
        r"invalid magic characters", "{MODEL_NAME} is not a GGUF file: name one, or a folder or repository that has one"
    ),
    # Memory.
    Cause(
        r"(?s)failed to allocate \S+ buffer of size (?P<bytes>\d+).*"
        r"failed to allocate (?:buffer for )?(?P<what>kv cache|compute[^\n]*)",
        _too_large,
        _smaller,
    ),
    Cause(r"failed to allocate \S+ buffer of size (?P<bytes>\d+)(?P<what>)", _too_large),
    # Settings that do not go together, or are out of range.
    Cause(
        r"quantized V cache requires flash_attn",
        "CACHE_TYPE_V={CACHE_TYPE_V} needs flash attention, and FLASH_ATTN={FLASH_ATTN}: set FLASH_ATTN=on, or leave "
        "CACHE_TYPE_V out",
    ),
    Cause(
        r"n_seq_max must be <= (?P<limit>\d+)",
        "PARALLEL={PARALLEL} is more than the {limit} slots that llama.cpp can have: lower it",
    ),
    Cause(r"common_chat_templates_init: error: (?P<detail>[^\n]+)", _template),
    Cause(r"chat template parsing error: (?P<detail>[^\n]+)", _template),
    Cause(
        r"error: invalid argument: --(?P<flag>[\w-]+)",
        lambda match, _: (
            f"this version of llama-server has no --{match['flag']}: leave out "
            f"{match['flag'].upper().replace('-', '_')}, or update llama-server"
        ),
    ),
    Cause(
        r"couldn't bind HTTP server socket",
        "its server cannot listen on its socket: is TMPDIR writable, and shorter than 80 characters?",
    ),
    Cause(
        r"xllamacpp cannot be imported: (?P<why>[^\n]+)",
        "the Python that LLAMACPP_PYTHON names cannot import xllamacpp ({why}): pip install xllamacpp there, or set "
        "LLAMA_SERVER",
    ),
    Cause(
        r"(?P<where>[\w.-]+:\d+): GGML_ASSERT\((?P<check>.*)\) failed",
        "llama.cpp aborted at an internal check ({check}, in {where}): a setting is out of its range, or "
        "MODEL_NAME={MODEL_NAME} is damaged",
    ),
)

DIAGNOSTICS = Diagnostics(
    LogFormat(
        (r"\d+\.\d\d\.\d\d\d\.\d\d\d (?P<level>[DIWE]) ",),
        contents=(r'got exception: (?:\{"error":\{"code":\d+)?', r"error parsing grammar: "),
    ),
    _CAUSES,
    second_hand=r"Failed to init server|exiting due to model loading error|failed to load model(?:[, ]|$)|"
    r"failed to create.context|encountered an error while trying to fit|disabling jinja|for example: --",
)
