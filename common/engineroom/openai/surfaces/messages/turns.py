"""The turns of a Messages conversation as the messages of a chat."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from ...validation import invalid
from ..field_paths import FieldPaths
from .schema import (
    AssistantTurn,
    Base64Source,
    ImageBlock,
    SystemTurn,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserTurn,
)


def to_messages(
    system: str | list[TextBlock] | None, turns: Sequence[UserTurn | AssistantTurn | SystemTurn], paths: FieldPaths
) -> list[dict[str, Any]]:
    """The chat's messages; `paths` gets the turn that each was made of.

    Raises:
        APIError: 400, a use of a tool has no result, or a result no use.
    """
    _check_results(turns)
    messages: list[dict[str, Any]] = []

    def append(made: Iterable[dict[str, Any]], where: str) -> None:
        for message in made:
            paths.add(f"messages.{len(messages)}", where)
            messages.append(message)

    if system:
        append([{"role": "system", "content": _joined(system)}], "system")
    for number, turn in enumerate(turns):
        where = f"messages.{number}"
        if isinstance(turn, SystemTurn):
            append([{"role": "system", "content": _joined(turn.content)}], where)
        elif isinstance(turn, AssistantTurn):
            append([_assistant(turn)], where)
        else:
            append(_user(turn), where)
    return messages


def _check_results(turns: Sequence[UserTurn | AssistantTurn | SystemTurn]) -> None:
    """Each use of a tool has its result in the user's turn that follows, as Anthropic's API demands."""
    uses: list[str] = []
    used_at = 0
    for number, turn in enumerate(turns):
        blocks = [] if isinstance(turn, SystemTurn) or isinstance(turn.content, str) else turn.content
        if isinstance(turn, UserTurn):
            results = []
            for at, block in enumerate(blocks):
                if not isinstance(block, ToolResultBlock):
                    continue
                results.append(block.tool_use_id)
                if block.tool_use_id not in uses:
                    where = f"messages.{number}.content.{at}"
                    raise invalid(
                        f"{where}: unexpected `tool_use_id` found in `tool_result` blocks: {block.tool_use_id}. Each "
                        "`tool_result` block must have a corresponding `tool_use` block in the previous message.",
                        where,
                    )
            _check_none_left([use for use in uses if use not in results], used_at)
            uses = []
        elif isinstance(turn, AssistantTurn):
            _check_none_left(uses, used_at)
            uses = [block.id for block in blocks if isinstance(block, ToolUseBlock)]
            used_at = number
    _check_none_left(uses, used_at)


def _check_none_left(uses: Sequence[str], number: int) -> None:
    if uses:
        raise invalid(
            f"messages.{number}: `tool_use` ids were found without `tool_result` blocks immediately after: "
            f"{', '.join(uses)}. Each `tool_use` block must have a corresponding `tool_result` block in the next "
            "message.",
            f"messages.{number}",
        )


def _joined(content: str | Sequence[TextBlock]) -> str:
    return content if isinstance(content, str) else "\n\n".join(block.text for block in content)


def _assistant(turn: AssistantTurn) -> dict[str, Any]:
    """One message of what the assistant thought, said and called."""
    if isinstance(turn.content, str):
        return {"role": "assistant", "content": turn.content}
    text = "".join(block.text for block in turn.content if isinstance(block, TextBlock))
    thinking = "".join(block.thinking for block in turn.content if isinstance(block, ThinkingBlock))
    calls = [_call(block) for block in turn.content if isinstance(block, ToolUseBlock)]
    message: dict[str, Any] = {"role": "assistant", "content": text or (None if calls else "")}
    if thinking:
        message["reasoning_content"] = thinking
    if calls:
        message["tool_calls"] = calls
    return message


def _call(block: ToolUseBlock) -> dict[str, Any]:
    arguments = msgspec.json.encode(block.input).decode()
    return {"id": block.id, "type": "function", "function": {"name": block.name, "arguments": arguments}}


def _user(turn: UserTurn) -> list[dict[str, Any]]:
    """The results of tools, each a message, and what the user says beside them.

    A chat's tool has only text to say: the images of a result stand in the user's message.
    """
    if isinstance(turn.content, str):
        return [{"role": "user", "content": turn.content}]
    results: list[dict[str, Any]] = []
    parts: list[dict[str, Any]] = []
    for block in turn.content:
        if isinstance(block, ToolResultBlock):
            blocks = [] if isinstance(block.content, str) else block.content or []
            text = block.content if isinstance(block.content, str) else _texts(blocks)
            text = f"Error: {text}" if block.is_error else text
            results.append({"role": "tool", "tool_call_id": block.tool_use_id, "content": text})
            parts += [_part(image) for image in blocks if isinstance(image, ImageBlock)]
        else:
            parts.append(_part(block))
    if not parts:
        return results or [{"role": "user", "content": ""}]
    content = parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts
    return [*results, {"role": "user", "content": content}]


def _texts(blocks: Sequence[TextBlock | ImageBlock]) -> str:
    return "\n".join(block.text for block in blocks if isinstance(block, TextBlock))


def _part(block: TextBlock | ImageBlock) -> dict[str, Any]:
    if isinstance(block, TextBlock):
        return {"type": "text", "text": block.text}
    source = block.source
    if isinstance(source, Base64Source):
        return {"type": "image_url", "image_url": {"url": f"data:{source.media_type};base64,{source.data}"}}
    return {"type": "image_url", "image_url": {"url": source.url}}
