"""The requests of OpenAI's API that a TokenEngine serves. `None` is taken wherever a field may be left out.

The field names are compared with the `openai` package's in common/tests/openai_api/test_schemas.py.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from .messages import AnyMessage, TextPart
from .validation import KnownFields

MAX_CHOICES = 2048
"""The most choices of one request, all its prompts together; each is a task."""

_Name: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
_Penalty: TypeAlias = Annotated[float, msgspec.Meta(ge=-2, le=2)]
_Temperature: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=2)]
_Probability: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Choices: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=128)]
_Int64: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Positive: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]
_Bias: TypeAlias = dict[str, Annotated[float, msgspec.Meta(ge=-100, le=100)]]
_Stop: TypeAlias = str | list[str]
"""OpenAI takes four; Anthropic's clients, and those of other servers, send more. MAX_STOP_STRINGS is the limit."""
_Metadata: TypeAlias = Annotated[dict[str, Annotated[str, msgspec.Meta(max_length=512)]], msgspec.Meta(max_length=16)]


class StreamOptions(KnownFields):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class TextFormat(KnownFields, tag_field="type", tag="text"):
    pass


class JSONObjectFormat(KnownFields, tag_field="type", tag="json_object"):
    schema: dict[str, Any] | None = None
    """Not OpenAI's; clients of local servers send it."""


class JSONSchema(KnownFields):
    name: Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class JSONSchemaFormat(KnownFields, tag_field="type", tag="json_schema"):
    json_schema: JSONSchema


class Function(msgspec.Struct):
    name: _Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionTool(msgspec.Struct, tag_field="type", tag="function"):
    function: Function


class CustomTool(msgspec.Struct, tag_field="type", tag="custom"):
    custom: dict[str, Any]


class NamedFunction(KnownFields):
    name: str


class NamedFunctionTool(KnownFields, tag_field="type", tag="function"):
    function: NamedFunction


class NamedCustomTool(KnownFields, tag_field="type", tag="custom"):
    custom: NamedFunction


class Allowed(KnownFields):
    mode: Literal["auto", "required"]
    tools: list[dict[str, Any]]


class AllowedTools(KnownFields, tag_field="type", tag="allowed_tools"):
    allowed_tools: Allowed


class Prediction(KnownFields, tag_field="type", tag="content"):
    content: str | list[TextPart]


class Generation(msgspec.Struct, kw_only=True):
    """What chat completions and completions have in common."""

    model: str
    frequency_penalty: _Penalty | None = None
    logit_bias: _Bias | None = None
    max_tokens: int | None = None
    n: _Choices | None = None
    presence_penalty: _Penalty | None = None
    seed: _Int64 | None = None
    stop: _Stop | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: _Temperature | None = None
    top_p: _Probability | None = None
    user: str | None = None


class ChatRequest(Generation, kw_only=True):
    """POST /v1/chat/completions"""

    messages: Annotated[list[AnyMessage], msgspec.Meta(min_length=1)]
    audio: dict[str, Any] | None = None
    function_call: Literal["none", "auto"] | NamedFunction | None = None
    functions: Annotated[list[Function], msgspec.Meta(min_length=1, max_length=128)] | None = None
    logprobs: bool | None = None
    max_completion_tokens: _Positive | None = None
    max_tokens: _Positive | None = None
    metadata: _Metadata | None = None
    modalities: list[Literal["text", "audio"]] | None = None
    moderation: dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    prediction: Prediction | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    prompt_cache_retention: Literal["in_memory", "in-memory", "24h"] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    response_format: TextFormat | JSONObjectFormat | JSONSchemaFormat | None = None
    safety_identifier: Annotated[str, msgspec.Meta(max_length=128)] | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | None = None
    store: bool | None = None
    tool_choice: Literal["none", "auto", "required"] | AllowedTools | NamedFunctionTool | NamedCustomTool | None = None
    tools: list[FunctionTool | CustomTool] | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    web_search_options: dict[str, Any] | None = None


class CompletionRequest(Generation, kw_only=True):
    """POST /v1/completions"""

    prompt: str | Annotated[list[str | int | list[int]], msgspec.Meta(min_length=1)] | None
    best_of: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    echo: bool | None = None
    logprobs: Annotated[int, msgspec.Meta(ge=0, le=5)] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    suffix: str | None = None


class EmbeddingRequest(msgspec.Struct, kw_only=True):
    """POST /v1/embeddings"""

    model: str
    input: str | Annotated[list[str | int | list[int]], msgspec.Meta(min_length=1, max_length=2048)]
    dimensions: _Positive | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = None
