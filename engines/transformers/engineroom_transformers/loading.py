"""A model and its tokenizer into this process, and what to do where that fails."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from engineroom.models import cache_folders, hub, hub_environ, is_whole, weights

from . import embedding

if TYPE_CHECKING:
    from .settings import TransformersSettings


class Loaded(NamedTuple):
    """A model in memory. pooling: how its states become one vector, None for a model that generates text."""

    model: Any
    tokenizer: Any
    pooling: str | None


def load(name: str, settings: TransformersSettings) -> Loaded:
    """Find or download the model `name`, and load it; blocks for seconds to minutes.

    Raises:
        Exception: whatever stands in the way; `explain` puts it into words.
    """
    import torch
    import transformers
    from transformers.distributed import DistributedConfig
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    set_verbosity_error()
    disable_progress_bar()
    logging.getLogger("ContinuousBatchingLogger").setLevel(logging.WARNING)
    where = locate(name, settings, os.environ)
    own: dict[str, Any] = {"trust_remote_code": settings.trust_remote_code}
    if gguf := [file.name for file in weights(where) if file.suffix == ".gguf"]:
        own["gguf_file"] = gguf[0]
        where = where.parent if where.is_file() else where
    tokenizer = transformers.AutoTokenizer.from_pretrained(where, **own)
    if settings.chat_template:
        tokenizer.chat_template = Path(settings.chat_template).read_text()
    config = transformers.AutoConfig.from_pretrained(where, **own)
    mode = embedding.pooling(where, config)
    kind = transformers.AutoModelForCausalLM if mode is None else transformers.AutoModel
    if settings.tensor_parallel_size > 1:
        own["distributed_config"] = DistributedConfig(tp_size=settings.tensor_parallel_size)
    else:
        own["device_map"] = settings.device.replace("auto", "cuda" if torch.cuda.is_available() else "cpu")
    if settings.attn_implementation or mode is None:
        own["attn_implementation"] = settings.attn_implementation or "sdpa"
    if settings.quantization:
        bits = {f"load_in_{settings.quantization.rpartition('-')[2]}": True}
        own["quantization_config"] = transformers.BitsAndBytesConfig(**bits)
    model = kind.from_pretrained(where, dtype=settings.dtype, **own).eval()
    return Loaded(model, tokenizer, mode)


def locate(name: str, settings: TransformersSettings, environ: Mapping[str, str]) -> Path:
    """The model's folder, or its GGUF file; downloaded where no cache has it whole.

    Raises:
        HubError: it cannot be had.
    """
    environ = hub_environ(environ, settings.base_path, settings.hf_token)
    repository, _, wanted = name.partition(":") if not Path(name).exists() else (name, "", "")
    folder = settings.find(repository, settings.model_revision, environ).folder
    if folder is None or not (is_whole(folder) or folder.is_file()):
        cache = cache_folders(environ)[0]
        folder = hub.download(name, settings.model_revision, cache, environ.get("HF_TOKEN"))
    if wanted:
        found = [file for file in sorted(folder.rglob("*.gguf")) if wanted.lower() in file.name.lower()]
        folder = found[0] if found else folder
    return folder


def explain(error: BaseException, name: str, settings: TransformersSettings) -> str:
    """What a failed load means, and what to do."""
    told = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if isinstance(error, hub.HubError):
        return str(error)
    if "does not recognize this architecture" in told or "Unrecognized model" in told:
        return f"this version of transformers does not know {name}: {told[:300]}; try TRUST_REMOTE_CODE=true"
    if "trust_remote_code" in told:
        return f"{name} brings code of its own: set TRUST_REMOTE_CODE=true if you trust it"
    if isinstance(error, MemoryError) or "out of memory" in told.lower():
        return f"{name} does not fit: take a smaller one, QUANTIZATION, or a lower KV_CACHE_TOKENS ({told[:300]})"
    if isinstance(error, ImportError):
        return f"{told[:300]}: pip install 'engineroom-transformers[engine]', or that, into {sys.prefix}"
    if "SafetensorError" in told:
        return f"{name}: its weights are not whole, download them anew ({told[:300]})"
    return f"{name} cannot be loaded: {told[:600]}"
