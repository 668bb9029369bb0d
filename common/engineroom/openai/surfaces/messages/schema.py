"""What a Messages request may hold. `None` is taken wherever a field may be left out.

The field names are compared with the `anthropic` package's in common/tests/openai_api/surfaces/test_fields.py.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from ...validation import KnownFields

_Name: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9_-]{1,128}$")]


class Block(KnownFields, tag_field="type", kw_only=True):
    """One block of the content of a message, or of a tool's result."""

    cache_control: dict[str, Any] | None = None


class TextBlock(Block, tag="text"):
    text: str
    citations: list[Any] | None = None


class Base64Source(KnownFields, tag_field="type", tag="base64"):
    data: str
    media_type: Literal["image/jpeg", "image/png", "image/gif", "image/webp"]


class URLSource(KnownFields, tag_field="type", tag="url"):
    url: str


class ImageTransformations(KnownFields):
    oversized_image: Literal["downsize"] | None = None


class ImageBlock(Block, tag="image"):
    source: Base64Source | URLSource
    transformations: ImageTransformations | None = None


class ToolUseBlock(Block, tag="tool_use"):
    id: str
    name: str
    input: dict[str, Any]
    caller: dict[str, Any] | None = None
    toolset_name: str | None = None


class ToolResultBlock(Block, tag="tool_result"):
    tool_use_id: str
    content: str | list[TextBlock | ImageBlock] | None = None
    is_error: bool | None = None
    toolset_name: str | None = None


class ThinkingBlock(Block, tag="thinking"):
    thinking: str
    signature: str | None = None


class RedactedThinkingBlock(Block, tag="redacted_thinking"):
    data: str


class UserTurn(KnownFields, tag_field="role", tag="user"):
    content: str | list[TextBlock | ImageBlock | ToolResultBlock]


class AssistantTurn(KnownFields, tag_field="role", tag="assistant"):
    content: str | list[TextBlock | ToolUseBlock | ThinkingBlock | RedactedThinkingBlock]


class SystemTurn(KnownFields, tag_field="role", tag="system"):
    content: str | list[TextBlock]


class ThinkingOn(KnownFields, tag_field="type", tag="enabled"):
    budget_tokens: Annotated[int, msgspec.Meta(ge=1024)]
    display: Literal["summarized", "omitted"] | None = None
    block_binding: dict[str, Any] | None = None


class ThinkingOff(KnownFields, tag_field="type", tag="disabled"):
    pass


class ThinkingAsNeeded(KnownFields, tag_field="type", tag="adaptive"):
    display: Literal["summarized", "omitted"] | None = None
    block_binding: dict[str, Any] | None = None


class ThinkingBetweenTools(KnownFields, tag_field="type", tag="between_tools"):
    pass


class SchemaFormat(KnownFields, tag_field="type", tag="json_schema"):
    schema: dict[str, Any]


class OutputConfig(KnownFields):
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: SchemaFormat | None = None


class AnyChoice(KnownFields, tag_field="type", tag="any"):
    disable_parallel_tool_use: bool | None = None


class AutoChoice(KnownFields, tag_field="type", tag="auto"):
    disable_parallel_tool_use: bool | None = None


class NoChoice(KnownFields, tag_field="type", tag="none"):
    disable_parallel_tool_use: bool | None = None


class NamedChoice(KnownFields, tag_field="type", tag="tool"):
    name: str
    disable_parallel_tool_use: bool | None = None


class ToolDefinition(KnownFields):
    name: _Name
    input_schema: dict[str, Any]
    type: str | None = None
    allowed_callers: list[str] | None = None
    cache_control: dict[str, Any] | None = None
    eager_input_streaming: bool | None = None
    description: str | None = None
    strict: bool | None = None
    defer_loading: bool | None = None
    input_examples: list[dict[str, Any]] | None = None


class MessagesRequest(msgspec.Struct, kw_only=True):
    """POST /v1/messages"""

    model: str
    max_tokens: Annotated[int, msgspec.Meta(ge=1)]
    messages: Annotated[list[UserTurn | AssistantTurn | SystemTurn], msgspec.Meta(min_length=1)]
    cache_control: dict[str, Any] | None = None
    container: Any = None
    context_management: dict[str, Any] | None = None
    diagnostics: Any = None
    inference_geo: str | None = None
    mcp_servers: Any = None
    metadata: dict[str, Any] | None = None
    output_config: OutputConfig | None = None
    output_format: SchemaFormat | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    speed: Literal["fast", "standard"] | None = None
    stop_sequences: list[Annotated[str, msgspec.Meta(min_length=1)]] | None = None
    stream: bool | None = None
    system: str | list[TextBlock] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    thinking: ThinkingOn | ThinkingOff | ThinkingAsNeeded | ThinkingBetweenTools | None = None
    tool_choice: AutoChoice | AnyChoice | NamedChoice | NoChoice | None = None
    tools: list[dict[str, Any]] | None = None
    top_k: Annotated[int, msgspec.Meta(ge=0)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    user_profile_id: str | None = None
    workspace_id: str | None = None
