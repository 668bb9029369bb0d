"""Which of a chat request's tools may be called; also the older `functions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..schemas import Allowed, AllowedTools, CustomTool, NamedCustomTool, NamedFunction, NamedFunctionTool
from ..validation import invalid

if TYPE_CHECKING:
    from ..schemas import ChatRequest


class Tools(NamedTuple):
    """What may be called.

    tools: in today's shape, those that may be called; empty where none may.
    forced: whether one of them must be called.
    legacy: whether the client speaks `functions` and expects a `function_call`.
    """

    tools: Sequence[Mapping[str, Any]] = ()
    forced: bool = False
    legacy: bool = False


def choose(request: ChatRequest, json: Mapping[str, Any]) -> Tools:
    """The tools that the request lets the model call.

    Raises:
        APIError: for a choice that the tools do not offer, and for custom tools.
    """
    if request.tools is None and request.functions is not None:
        return _choose_function(request, json["functions"])
    choice = request.tool_choice
    offered = request.tools or []
    for number, tool in enumerate(offered):
        if isinstance(tool, CustomTool):
            raise invalid(
                "Custom tools are not supported by this model; use a tool of type 'function'.",
                f"tools.{number}.type",
                "unsupported_value",
            )
    if choice in (None, "none", "auto"):
        return Tools() if choice == "none" else Tools(json.get("tools") or ())
    if not offered:
        raise invalid("'tool_choice' is only allowed when 'tools' are specified.", "tool_choice")
    if isinstance(choice, NamedCustomTool):
        raise _not_offered(choice.custom.name)
    if isinstance(choice, NamedFunctionTool):
        return Tools(_named(choice.function.name, json["tools"]), forced=True)
    if isinstance(choice, AllowedTools):
        allowed = _allowed(choice.allowed_tools, _names(json["tools"]))
        tools = [tool for tool in json["tools"] if tool["function"]["name"] in allowed]
        return Tools(tools, forced=choice.allowed_tools.mode == "required")
    return Tools(json["tools"], forced=True)


def _choose_function(request: ChatRequest, functions: Sequence[Mapping[str, Any]]) -> Tools:
    if request.function_call == "none":
        return Tools(legacy=True)
    tools = [{"type": "function", "function": function} for function in functions]
    if isinstance(request.function_call, NamedFunction):
        return Tools(_named(request.function_call.name, tools, "function_call"), forced=True, legacy=True)
    return Tools(tools, legacy=True)


def _names(tools: Sequence[Mapping[str, Any]]) -> set[str]:
    return {tool["function"]["name"] for tool in tools}


def _named(name: str, offered: Sequence[Mapping[str, Any]], param: str = "tool_choice") -> Sequence[Mapping[str, Any]]:
    named = [tool for tool in offered if tool["function"]["name"] == name]
    if not named:
        raise _not_offered(name, param)
    return named


def _allowed(allowed: Allowed, offered: set[str]) -> set[str]:
    names = {str((tool.get("function") or {}).get("name")) for tool in allowed.tools}
    for name in names - offered:
        raise _not_offered(name)
    return names


def _not_offered(name: str, param: str = "tool_choice") -> Exception:
    where = "functions" if param == "function_call" else "tools"
    return invalid(f"Invalid value for '{param}': '{name}' is not among '{where}'.", param, "invalid_value")
