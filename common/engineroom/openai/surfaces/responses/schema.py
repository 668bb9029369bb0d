"""What a Responses request may hold. `None` is taken wherever a field may be left out.

The field names are compared with the `openai` package's in common/tests/openai_api/surfaces/test_fields.py.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from ...validation import KnownFields

_Name: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9_-]{1,128}$")]
_Metadata: TypeAlias = Annotated[dict[str, Annotated[str, msgspec.Meta(max_length=512)]], msgspec.Meta(max_length=16)]
_Status: TypeAlias = Literal["in_progress", "completed", "incomplete"]


class ResponseStreamOptions(KnownFields):
    include_obfuscation: bool | None = None


class Reasoning(KnownFields):
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None
    context: Literal["auto", "current_turn", "all_turns"] | None = None
    mode: Literal["standard"] | None = None


class PlainText(KnownFields, tag_field="type", tag="text"):
    pass


class AnyJSON(KnownFields, tag_field="type", tag="json_object"):
    pass


class JSONOfSchema(KnownFields, tag_field="type", tag="json_schema"):
    name: Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


class TextConfig(KnownFields):
    format: PlainText | AnyJSON | JSONOfSchema | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class ResponsesRequest(msgspec.Struct, kw_only=True):
    """POST /v1/responses"""

    model: str
    input: str | Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1)]
    access_programs: Any = None
    background: bool | None = None
    context_management: Any = None
    conversation: Any = None
    image: Any = None
    include: (
        list[
            Literal[
                "code_interpreter_call.outputs",
                "computer_call_output.output.image_url",
                "file_search_call.results",
                "message.input_image.image_url",
                "message.output_text.logprobs",
                "reasoning.encrypted_content",
                "web_search_call.action.sources",
                "web_search_call.results",
            ]
        ]
        | None
    ) = None
    instructions: str | None = None
    max_output_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_tool_calls: Annotated[int, msgspec.Meta(ge=1)] | None = None
    metadata: _Metadata | None = None
    moderation: Any = None
    parallel_tool_calls: bool | None = None
    previous_response_id: str | None = None
    prompt: Any = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    prompt_cache_retention: Literal["in_memory", "in-memory", "24h"] | None = None
    reasoning: Reasoning | None = None
    safety_identifier: Annotated[str, msgspec.Meta(max_length=128)] | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"] | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: ResponseStreamOptions | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    text: TextConfig | None = None
    tool_choice: Literal["none", "auto", "required"] | dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    user: str | None = None


class ContentPart(KnownFields, tag_field="type", kw_only=True):
    """One part of the content of a message, or of a tool's output."""

    prompt_cache_breakpoint: dict[str, Any] | None = None


class InputTextPart(ContentPart, tag="input_text"):
    text: str


class InputImagePart(ContentPart, tag="input_image"):
    image_url: str | None = None
    file_id: str | None = None
    detail: str | None = None


class InputFilePart(ContentPart, tag="input_file"):
    file_data: str | None = None
    file_id: str | None = None
    file_url: str | None = None
    filename: str | None = None
    detail: str | None = None


class InputAudioPart(ContentPart, tag="input_audio"):
    input_audio: dict[str, Any]


class OutputTextPart(ContentPart, tag="output_text"):
    text: str
    annotations: list[Any] | None = None
    logprobs: list[Any] | None = None


class OutputRefusalPart(ContentPart, tag="refusal"):
    refusal: str


AnyContentPart: TypeAlias = (
    InputTextPart | InputImagePart | InputFilePart | InputAudioPart | OutputTextPart | OutputRefusalPart
)


class Item(KnownFields, kw_only=True):
    """One item of a conversation."""

    type: str | None = None
    id: str | None = None
    status: _Status | None = None


class MessageItem(Item):
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[AnyContentPart]
    phase: str | None = None


class CallItem(Item, rename={"is_async": "async"}, kw_only=True):
    """What both sides of a call may say of it."""

    call_id: str
    caller: dict[str, Any] | None = None
    namespace: str | None = None
    is_async: bool | None = None


class FunctionCallItem(CallItem):
    name: str
    arguments: str


class FunctionCallOutputItem(CallItem):
    output: str | list[AnyContentPart]
    name: str | None = None


class ReasoningText(KnownFields):
    text: str
    type: str | None = None


class ReasoningItem(Item):
    summary: list[ReasoningText] | None = None
    content: list[ReasoningText] | None = None
    encrypted_content: str | None = None


class ItemReference(KnownFields):
    id: str
    type: str | None = None


class FunctionToolDefinition(KnownFields, rename={"is_async": "async"}):
    name: _Name
    type: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    allowed_callers: list[str] | None = None
    defer_loading: bool | None = None
    is_async: bool | None = None
    output_schema: dict[str, Any] | None = None


class Namespace(KnownFields):
    name: _Name
    description: str
    tools: list[dict[str, Any]]
    type: str | None = None


class NamedFunctionChoice(KnownFields):
    name: str
    type: str | None = None


class AllowedToolsChoice(KnownFields):
    mode: Literal["auto", "required"]
    tools: list[dict[str, Any]]
    type: str | None = None
