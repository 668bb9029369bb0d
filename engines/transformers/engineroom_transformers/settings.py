"""What can be set on the engine, and what one request can ask of it beyond OpenAI's own parameters."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

import msgspec
from pydantic import AliasChoices, Field

from engineroom.models import HubSettings

_TokenId: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]


class TransformersSettings(HubSettings):
    """How the model is loaded and batched."""

    title: ClassVar[str] = "transformers"

    model_revision: str | None = Field(
        None, validation_alias=AliasChoices("MODEL_REVISION", "REVISION"), description="Branch, tag or commit."
    )
    device: str = Field(
        "auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="`cuda` if there is a GPU, else `cpu`."
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="The type of the weights. Default: as the model was saved."
    )
    attn_implementation: str | None = Field(
        None, description="`sdpa` (the default), `eager`, `flash_attention_2`, `flash_attention_3`."
    )
    quantization: Literal["bitsandbytes-4bit", "bitsandbytes-8bit"] | None = Field(
        None, description="Quantisation while loading, by bitsandbytes. A model that is already quantised needs none."
    )
    trust_remote_code: bool = Field(False, description="Run the code that comes with the model.")
    tensor_parallel_size: int = Field(1, ge=1, description="How many GPUs share each layer.")
    chat_template: str | None = Field(None, description="A file with a chat template that replaces the model's own.")
    max_model_len: int | None = Field(
        None, ge=2, description="Tokens of prompt and completion together. Default: as many as model and cache hold."
    )
    max_num_seqs: int = Field(64, ge=1, description="Requests in one batch, at most; more wait.")
    max_num_batched_tokens: int | None = Field(
        None, ge=16, description="Tokens in one step, prompts included, at most. Default: 512 on a CPU, 2048 on a GPU."
    )
    kv_cache_tokens: int | None = Field(
        None,
        ge=32,
        description="Tokens in the cache, over all requests. Default: 16384 on a CPU, as memory allows on a GPU.",
    )
    gpu_memory_utilization: float = Field(0.85, gt=0, le=1, description="Share of free GPU memory for the cache.")


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fields of one request. A field that would be ignored is an error."""

    top_k: Annotated[int, msgspec.Meta(ge=-1)] = 0
    min_p: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    repetition_penalty: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: dict[_TokenId, float] = {}
    min_tokens: Annotated[int, msgspec.Meta(ge=0)] = 0
    ignore_eos: bool = False
    stop_token_ids: tuple[_TokenId, ...] = ()
