"""A model and its tokenizer into this process, and what to do where that fails."""

from __future__ import annotations

import gc
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from engineroom.errors import EngineStartError
from engineroom.installation import how_to_install
from engineroom.models import pooling, weights
from engineroom.server import Situation, diagnose_exception
from engineroom.settings import read_text

from .diagnostics import DIAGNOSTICS

if TYPE_CHECKING:
    from .settings import TransformersSettings


class LoadedModel(NamedTuple):
    """A model in memory.

    pooling: how its states become one vector, `mean`, `cls` or `lasttoken`; None for a model that generates text.
    """

    model: Any
    tokenizer: Any
    pooling: str | None


def load(where: Path, settings: TransformersSettings) -> LoadedModel:
    """Load the model in a folder or a GGUF file; blocks for seconds to minutes.

    Raises:
        EngineStartError: it would not compute on DEVICE.
        Exception: whatever else stands in the way; `explain` puts it into words.
    """
    import torch
    import transformers
    from transformers.distributed import DistributedConfig
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    set_verbosity_error()
    disable_progress_bar()
    logging.getLogger("ContinuousBatchingLogger").setLevel(logging.WARNING)
    own: dict[str, Any] = {"trust_remote_code": settings.trust_remote_code}
    gguf = [file.name for file in weights(where) if file.suffix == ".gguf"]
    if gguf:
        own["gguf_file"] = gguf[0]
        where = where.parent if where.is_file() else where
    tokenizer = transformers.AutoTokenizer.from_pretrained(where, **own)
    if settings.chat_template:
        tokenizer.chat_template = read_text(Path(settings.chat_template), "CHAT_TEMPLATE")
    config = transformers.AutoConfig.from_pretrained(where, **own)
    mode = pooling(where, config.architectures or ())
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
    wanted = settings.device.partition(":")[0]
    if wanted not in ("auto", model.device.type):
        raise EngineStartError(
            f"DEVICE={settings.device} is not what the ranks of TENSOR_PARALLEL_SIZE={settings.tensor_parallel_size} "
            f"compute on, which is {model.device.type}: leave DEVICE out, or hide GPUs by CUDA_VISIBLE_DEVICES=-1"
        )
    return LoadedModel(model, tokenizer, mode)


def give_memory_back() -> None:
    """Let GPUs have the memory of a model that nobody refers to any more: PyTorch keeps it for the next one here."""
    import torch

    if torch.cuda.is_available():
        gc.collect()  # Parts of a model refer to each other.
        torch.cuda.empty_cache()


def explain(error: BaseException, name: str, settings: TransformersSettings) -> str:
    """What a failed load means, and what to do."""
    set_values = {key.upper(): str(value) for key, value in settings if value is not None}
    reason = diagnose_exception(error, DIAGNOSTICS, Situation({"MODEL_NAME": name, **set_values}))
    if isinstance(error, ImportError):
        return f"{reason} ({how_to_install('engineroom-transformers[engine]')} has what this engine needs)"
    return reason
