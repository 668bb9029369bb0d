"""What can be set on the engine, and what one request can ask of it beyond OpenAI's own parameters."""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import msgspec
from pydantic import AliasChoices, Field, field_validator

from engineroom.models import HubSettings
from engineroom.settings import parse_json

_TokenId: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
_Penalty: TypeAlias = Annotated[float, msgspec.Meta(ge=-2, le=2)]


class OpenVINOSettings(HubSettings):
    """How the model is loaded and batched."""

    title: ClassVar[str] = "OpenVINO"

    model_revision: str | None = Field(
        None, validation_alias=AliasChoices("MODEL_REVISION", "REVISION"), description="Branch, tag or commit."
    )
    device: str = Field("CPU", pattern=r"^(?i:cpu|npu|gpu(\.\d+)?)$", description="`CPU`, or an Intel `GPU`, `GPU.1`.")
    chat_template: str | None = Field(None, description="A file with a chat template that replaces the model's own.")
    max_model_len: int | None = Field(
        None, ge=2, description="Tokens of prompt and completion together. Default: as many as model and cache hold."
    )
    max_num_seqs: int = Field(64, ge=1, description="Requests in one batch, at most; more wait.")
    max_num_batched_tokens: int = Field(256, ge=16, description="Tokens in one step, prompts included, at most.")
    kv_cache_tokens: int = Field(16384, ge=32, description="Tokens in the cache, over all requests.")
    kv_cache_precision: Literal["u8", "u4", "f16", "bf16", "f32"] | None = Field(
        None, description="The type of the cache. Default: the device's, `u8` on a CPU."
    )
    enable_prefix_caching: bool = Field(True, description="Keep the cache of prompts for those that begin alike.")
    inference_precision_hint: Literal["f32", "bf16", "f16"] | None = Field(
        None, description="The type that is computed with. Default: the fastest that the device has."
    )
    inference_num_threads: int | None = Field(None, ge=1, description="Threads. Default: one for each core.")
    gguf_reader: Literal["LEGACY", "FRONTEND"] | None = Field(
        None, description="`FRONTEND` (a preview) reads GGUF files of more architectures than llama, qwen2 and qwen3."
    )
    plugin_config: str = Field(
        "{}", description='Further properties of OpenVINO as JSON, e.g. `{"CACHE_DIR": "/cache"}`.'
    )

    @property
    def properties(self) -> dict[str, Any]:
        """What OpenVINO is told, by its own names."""
        names = ("kv_cache_precision", "inference_precision_hint", "inference_num_threads", "gguf_reader")
        values = {name.upper(): getattr(self, name) for name in names}
        further: dict[str, Any] = json.loads(self.plugin_config)
        return {name: value for name, value in values.items() if value is not None} | further

    @field_validator("plugin_config")
    @classmethod
    def _is_an_object(cls, value: str) -> str:
        parse_json(value, "object")
        return value


class SamplingParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fields of one request. A field that would be ignored is an error."""

    top_k: Annotated[int, msgspec.Meta(ge=-1)] = 0
    min_p: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    repetition_penalty: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    presence_penalty: _Penalty = 0.0
    frequency_penalty: _Penalty = 0.0
    min_tokens: Annotated[int, msgspec.Meta(ge=0)] = 0
    ignore_eos: bool = False
    stop_token_ids: tuple[_TokenId, ...] = ()
