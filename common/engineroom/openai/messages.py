"""The messages of a chat request: every shape that OpenAI's API accepts, and their text for the chat template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from .validation import invalid


class Part(msgspec.Struct, tag_field="type"):
    """One part of a message's content."""


class TextPart(Part, tag="text"):
    text: str


class RefusalPart(Part, tag="refusal"):
    refusal: str


class ImageURL(msgspec.Struct):
    url: str
    detail: str | None = None


class ImagePart(Part, tag="image_url"):
    image_url: ImageURL


class InputAudio(msgspec.Struct):
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


def as_text(messages: Sequence[AnyMessage], json: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages as sent, but each content one string (its parts joined by line feeds) or None.

    Raises:
        APIError: for a part that is not text, and for an assistant's message that says nothing at all.
    """
    plain: list[dict[str, Any]] = []
    for number, (message, sent) in enumerate(zip(messages, json, strict=True)):
        where = f"messages.{number}"
        if isinstance(message, AssistantMessage):
            _check_assistant(message, where)
        content = message.content
        if isinstance(content, list):
            content = "\n".join(_text(part, f"{where}.content.{at}") for at, part in enumerate(content))
        plain.append({**sent, "content": content})
    return plain


def _check_assistant(message: AssistantMessage, where: str) -> None:
    if message.audio is not None:
        raise invalid(f"Invalid '{where}.audio': this model has no audio.", f"{where}.audio", "unsupported_value")
    said = (message.content, message.refusal, message.tool_calls, message.function_call)
    if all(part is None for part in said):
        raise invalid(
            f"Invalid value for '{where}.content': expected a string, got null.", f"{where}.content", "invalid_type"
        )


def _text(part: Part, where: str) -> str:
    if isinstance(part, TextPart):
        return part.text
    if isinstance(part, RefusalPart):
        return part.refusal
    kind = type(part).__struct_config__.tag
    raise invalid(
        f"Invalid '{where}': this model takes text only, and '{kind}' is not.", where, "unsupported_content_type"
    )
