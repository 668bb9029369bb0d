"""What a server's model makes of tools, found out by asking: many servers drop them without a word.

A chat template that has no place for tools leaves the prompt as it is; a server that cannot force a call answers a
demand for one with text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..engine import Capabilities, ToolUse
from ..openai.routes import CHAT_COMPLETIONS

if TYPE_CHECKING:
    from .connection import Upstream

_TOOL = {
    "type": "function",
    "function": {"name": "wave", "description": "Wave.", "parameters": {"type": "object", "properties": {}}},
}
_REASONS: dict[ToolUse, str] = {
    "none": "This model's chat template has no place for tools, so the model would never see them.",
    "optional": "This model cannot be made to call a tool here; tool_choice may be `auto` or `none`.",
    "forced": "",
}


async def probe_tools(upstream: Upstream, model: str) -> ToolUse:
    """Ask a server that is ready: two answers of one token, and one of at most 64 where the model sees tools."""
    greet = {"model": model, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 1, "temperature": 0}
    plain = await upstream.ask(CHAT_COMPLETIONS, greet)
    shown = await upstream.ask(CHAT_COMPLETIONS, {**greet, "tools": [_TOOL]})
    if plain is None or shown is None or shown["usage"]["prompt_tokens"] <= plain["usage"]["prompt_tokens"]:
        return "none"
    demand = {**greet, "tools": [_TOOL], "tool_choice": "required", "max_tokens": 64}
    answer = await upstream.ask(CHAT_COMPLETIONS, demand)
    return "forced" if answer and answer["choices"][0]["message"].get("tool_calls") else "optional"


async def narrow_tools(capabilities: Capabilities, upstream: Upstream, model: str) -> Capabilities:
    """The capabilities with what `probe_tools` found out about tools, and why there is no more of it."""
    tools = await probe_tools(upstream, model)
    return capabilities.narrow(_REASONS[tools], tools=tools)
