"""The messages of a chat request: every shape that OpenAI's API accepts."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from .validation import KnownFields


class Part(KnownFields, tag_field="type", kw_only=True):
    """One part of a message's content; marks for a cache have no effect."""

    cache_control: dict[str, Any] | None = None
    prompt_cache_breakpoint: dict[str, Any] | None = None


class TextPart(Part, tag="text"):
    text: str


class RefusalPart(Part, tag="refusal"):
    refusal: str


class ImageURL(KnownFields):
    url: str
    detail: str | None = None


class ImagePart(Part, tag="image_url"):
    image_url: ImageURL


class InputAudio(KnownFields):
    data: str
    format: Literal["wav", "mp3"]


class AudioPart(Part, tag="input_audio"):
    input_audio: InputAudio


class FilePart(Part, tag="file"):
    file: dict[str, Any]


_Texts: TypeAlias = Annotated[list[TextPart], msgspec.Meta(min_length=1)]


class FunctionCall(msgspec.Struct):
    name: str
    arguments: str


class CustomCall(msgspec.Struct):
    name: str
    input: str


class FunctionToolCall(msgspec.Struct, tag_field="type", tag="function"):
    id: str
    function: FunctionCall


class CustomToolCall(msgspec.Struct, tag_field="type", tag="custom"):
    id: str
    custom: CustomCall


class Message(msgspec.Struct, tag_field="role"):
    """One message; the role decides which fields it takes."""


class DeveloperMessage(Message, tag="developer"):
    content: str | _Texts
    name: str | None = None


class SystemMessage(Message, tag="system"):
    content: str | _Texts
    name: str | None = None


class UserMessage(Message, tag="user"):
    content: str | Annotated[list[TextPart | ImagePart | AudioPart | FilePart], msgspec.Meta(min_length=1)]
    name: str | None = None


class AssistantMessage(Message, tag="assistant"):
    content: str | Annotated[list[TextPart | RefusalPart], msgspec.Meta(min_length=1)] | None = None
    refusal: str | None = None
    name: str | None = None
    audio: dict[str, Any] | None = None
    tool_calls: list[FunctionToolCall | CustomToolCall] | None = None
    function_call: FunctionCall | None = None


class ToolMessage(Message, tag="tool"):
    content: str | _Texts
    tool_call_id: str


class FunctionMessage(Message, tag="function"):
    content: str | None
    name: str


AnyMessage: TypeAlias = (
    DeveloperMessage | SystemMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage
)
