"""The items of a Responses conversation as the messages of a chat."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ....errors import APIError
from ...validation import check, invalid
from ..field_paths import FieldPaths
from .schema import (
    AnyContentPart,
    FunctionCallItem,
    FunctionCallOutputItem,
    InputAudioPart,
    InputFilePart,
    InputImagePart,
    InputTextPart,
    MessageItem,
    OutputRefusalPart,
    ReasoningItem,
)

SEALED = "engineroom."
"""What `encrypted_content` of ours begins with: it holds the reasoning itself, and is a secret to nobody."""


class FunctionName(NamedTuple):
    """A function as its client knows it; `namespace` is None for one that stands by itself."""

    name: str
    namespace: str | None = None


class ChatMessages:
    """Chat messages, put together from items: what an assistant says, thinks and calls in a row is one message.

    Args:
        paths: gets the item that each message was made of.
        names: the names in the chat of the functions that are offered.
    """

    def __init__(self, paths: FieldPaths, names: Mapping[FunctionName, str]) -> None:
        self._names = names
        self.messages: list[dict[str, Any]] = []
        self._paths = paths
        self._images: list[dict[str, Any]] = []
        self._calls: set[str] = set()
        self._unanswered: dict[str, str] = {}
        """Call's id -> where the call stands."""

    def add_instructions(self, instructions: str) -> None:
        """The system's message; system messages that follow at once are joined to it, as templates take only one."""
        self._append({"role": "system", "content": instructions}, "instructions")

    def add(self, item: Mapping[str, Any], where: str) -> None:
        """The next item.

        Raises:
            APIError: 400, naming what is wrong with it or cannot be served.
        """
        kind = item.get("type")
        if kind in (None, "message"):
            self._add_message(check(item, MessageItem, where), where)
        elif kind == "function_call":
            self._add_call(check(item, FunctionCallItem, where), where)
        elif kind == "function_call_output":
            self._add_output(check(item, FunctionCallOutputItem, where), where)
        elif kind == "reasoning":
            self._add_reasoning(check(item, ReasoningItem, where), where)
        else:
            raise invalid(
                f"Invalid '{where}.type': items of type '{kind}' are not served here.",
                f"{where}.type",
                "unsupported_value",
            )

    def finish(self) -> list[dict[str, Any]]:
        """All messages.

        Raises:
            APIError: 400, a call has no output, or nothing was said.
        """
        for call_id, where in self._unanswered.items():
            where = "input" if where == "previous_response_id" else where
            raise invalid(f"No tool output found for function call {call_id}.", where)
        self._flush_images()
        # What was thought, and led to nothing, is nothing that a chat could hold.
        messages = [message for message in self.messages if message.keys() != {"role", "reasoning_content"}]
        if not messages:
            raise invalid("Invalid 'input': reasoning was provided without an item that follows it.", "input")
        return messages

    def _add_message(self, item: MessageItem, where: str) -> None:
        role = "system" if item.role == "developer" else item.role
        content = item.content if isinstance(item.content, str) else self._parts(item.content, f"{where}.content")
        last = self.messages[-1] if self.messages else {}
        if role == "system" and len(self.messages) == 1 and last["role"] == "system":
            last["content"] = f"{last['content']}\n\n{_plain(content)}"
            return
        if role == "system":
            content = _plain(content)
        if role == "assistant" and last.keys() == {"role", "reasoning_content"}:
            last["content"] = content
            self._paths.add(f"messages.{len(self.messages) - 1}", where)
            return
        self._append({"role": role, "content": content}, where)

    def _add_call(self, item: FunctionCallItem, where: str) -> None:
        name = self._names.get(FunctionName(item.name, item.namespace), item.name)
        function = {"name": name, "arguments": item.arguments}
        call = {"id": item.call_id, "type": "function", "function": function}
        self._calls.add(item.call_id)
        # One that was cut off cannot have been made.
        if item.status != "incomplete":
            self._unanswered[item.call_id] = where
        last = self.messages[-1] if self.messages else {}
        if last.get("role") != "assistant":
            last = self._append({"role": "assistant", "content": None}, where)
        last.setdefault("content", None)
        calls = last.setdefault("tool_calls", [])
        self._paths.add(f"messages.{len(self.messages) - 1}.tool_calls.{len(calls)}.function", where)
        calls.append(call)

    def _add_output(self, item: FunctionCallOutputItem, where: str) -> None:
        if item.call_id not in self._calls:
            message = f"No tool call found for function call output with call_id {item.call_id}."
            raise invalid(message, f"{where}.call_id")
        self._unanswered.pop(item.call_id, None)
        output = item.output
        images: list[dict[str, Any]] = []
        if not isinstance(output, str):
            parts = self._parts(output, f"{where}.output")
            parts = [{"type": "text", "text": parts}] if isinstance(parts, str) else parts
            output = "\n".join(part["text"] for part in parts if part["type"] == "text")
            images = [part for part in parts if part["type"] != "text"]
        self._append({"role": "tool", "tool_call_id": item.call_id, "content": output}, where)
        self._images += images

    def _add_reasoning(self, item: ReasoningItem, where: str) -> None:
        text = "\n".join(part.text for part in item.content or ())
        text = text or _unsealed(item.encrypted_content) or "\n".join(part.text for part in item.summary or ())
        if text:
            self._append({"role": "assistant", "reasoning_content": text}, where)

    def _append(self, message: dict[str, Any], where: str) -> dict[str, Any]:
        if message["role"] != "tool":
            self._flush_images()
        self._paths.add(f"messages.{len(self.messages)}", where)
        self.messages.append(message)
        return message

    def _flush_images(self) -> None:
        """A chat's tool has only text to say; its images follow as the user's."""
        if self._images:
            self.messages.append({"role": "user", "content": self._images})
            self._images = []

    def _parts(self, parts: Sequence[AnyContentPart], where: str) -> str | list[dict[str, Any]]:
        """A chat's content: one text where there is only that."""
        if len(parts) == 1 and not isinstance(parts[0], (InputImagePart, InputFilePart, InputAudioPart)):
            return _text(parts[0])
        return [_chat_part(part, f"{where}.{number}") for number, part in enumerate(parts)]


def _chat_part(part: AnyContentPart, where: str) -> dict[str, Any]:
    if isinstance(part, InputImagePart):
        if part.file_id:
            raise _no_files(f"{where}.file_id")
        if part.image_url is None:
            raise _missing(f"{where}.image_url")
        detail = {"detail": part.detail} if part.detail else {}
        return {"type": "image_url", "image_url": {"url": part.image_url, **detail}}
    if isinstance(part, InputFilePart):
        if part.file_id or part.file_url:
            raise _no_files(f"{where}.file_url" if part.file_url else f"{where}.file_id")
        if part.file_data is None:
            raise _missing(f"{where}.file_data")
        return {"type": "file", "file": {"file_data": part.file_data, "filename": part.filename or "file"}}
    if isinstance(part, InputAudioPart):
        return {"type": "input_audio", "input_audio": part.input_audio}
    return {"type": "text", "text": _text(part)}


def _missing(where: str) -> APIError:
    return invalid(f"Missing required parameter: '{where}'.", where, "missing_required_parameter")


def _no_files(where: str) -> APIError:
    message = f"Invalid '{where}': no files are kept here; send the data itself."
    return invalid(message, where, "unsupported_value")


def _text(part: AnyContentPart) -> str:
    if isinstance(part, OutputRefusalPart):
        return part.refusal
    return part.text if isinstance(part, InputTextPart) else getattr(part, "text", "")


def _plain(content: str | list[dict[str, Any]]) -> str:
    """The text of a system message."""
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", "") for part in content)


def sealed(text: str) -> str:
    """Reasoning as `encrypted_content`."""
    return SEALED + base64.b64encode(text.encode()).decode()


def _unsealed(content: str | None) -> str:
    """The reasoning that `encrypted_content` of ours holds; nothing for another server's."""
    if not content or not content.startswith(SEALED):
        return ""
    try:
        return base64.b64decode(content.removeprefix(SEALED)).decode()
    except ValueError:
        return ""
