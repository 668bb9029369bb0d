"""What a server's model makes of tools, found out by asking: many servers drop them without a word.

A chat template that has no place for tools leaves the prompt as it is; a server that cannot force a call answers a
demand for one with text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ..openai.validation import invalid

if TYPE_CHECKING:
    from .connection import Upstream

Tools: TypeAlias = Literal["unseen", "optional", "forced"]
"""Never shown to the model; called when it likes; called when it is told to."""

UNSEEN: Tools = "unseen"

_CHAT = "/v1/chat/completions"
_TOOL = {
    "type": "function",
    "function": {"name": "wave", "description": "Wave.", "parameters": {"type": "object", "properties": {}}},
}


async def find_out(upstream: Upstream, model: str) -> Tools:
    """Ask a server that is ready: two answers of one token, and one of at most 64 where the model sees tools."""
    greet = {"model": model, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 1, "temperature": 0}
    plain = await upstream.ask(_CHAT, greet)
    shown = await upstream.ask(_CHAT, {**greet, "tools": [_TOOL]})
    if plain is None or shown is None or shown["usage"]["prompt_tokens"] <= plain["usage"]["prompt_tokens"]:
        return "unseen"
    told = await upstream.ask(_CHAT, {**greet, "tools": [_TOOL], "tool_choice": "required", "max_tokens": 64})
    return "forced" if told and told["choices"][0]["message"].get("tool_calls") else "optional"


def check(json: Mapping[str, Any], tools: Tools) -> None:
    """Refuse what would be ignored.

    Raises:
        APIError: 400, where the request has tools that the model would not see, or demands a call that it may not make.
    """
    choice = json.get("tool_choice") or "auto"
    if not json.get("tools") or choice == "none" or tools == "forced":
        return
    if tools == "unseen":
        message = "This model's chat template has no place for tools, so the model would never see them."
        raise invalid(message, "tools", "unsupported_parameter")
    if choice != "auto":
        message = "This model cannot be made to call a tool here; tool_choice may be `auto` or `none`."
        raise invalid(message, "tool_choice", "unsupported_parameter")
