"""What a model's chat template is given: messages in the shapes that templates know, and a request's variables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ..validation import check, invalid


class _Variables(msgspec.Struct):
    chat_template_kwargs: dict[str, Any] = {}
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None


FIELDS = frozenset(_Variables.__struct_fields__)
"""Fields of a chat request, beside OpenAI's own, that are for the template."""

_NOT_A_CLIENT_S = ("chat_template", "messages", "tools")
"""A template of the client's would be a program that runs here; the others have fields of their own."""


def variables(request: Mapping[str, Any]) -> dict[str, Any]:
    """What a chat request sets for the template: `add_generation_prompt`, true by default, and all that it names.

    Raises:
        APIError: for what has a wrong type, or is not for a client to set.
    """
    own = check({name: request[name] for name in FIELDS if request.get(name) is not None}, _Variables)
    for name in _NOT_A_CLIENT_S:
        if name in own.chat_template_kwargs:
            param = f"chat_template_kwargs.{name}"
            raise invalid(f"'{name}' cannot be set by 'chat_template_kwargs'.", param, "unsupported_parameter")
    named = ("add_generation_prompt", "continue_final_message", "reasoning_effort")
    variables = {name: request[name] for name in named if request.get(name) is not None} | own.chat_template_kwargs
    return {"add_generation_prompt": not variables.get("continue_final_message"), **variables}


def fitted(messages: Sequence[Mapping[str, Any]], template: str, tools: object) -> list[dict[str, Any]]:
    """`messages` as templates expect them: arguments of tool calls as objects, calls of functions as those of tools,
    `developer` as `system` where the template knows only that.

    Args:
        template: the model's, in Jinja; empty where it has none.
        tools: those that are offered, if any.

    Raises:
        APIError: where the model has no template, or one that would never show it the tools.
    """
    if not template:
        raise invalid("This model has no chat template; set CHAT_TEMPLATE to give it one.", "messages")
    if tools and "tools" not in template:
        raise invalid(
            "This model's chat template has no place for tools, so the model would never see them. "
            "Set CHAT_TEMPLATE to a template that has one.",
            "tools",
            "unsupported_parameter",
        )
    return [_fitted(message, template, f"messages.{number}") for number, message in enumerate(messages)]


def _fitted(message: Mapping[str, Any], template: str, where: str) -> dict[str, Any]:
    adapted = dict(message)
    if adapted["role"] == "developer" and "developer" not in template:
        adapted["role"] = "system"
    if adapted["role"] == "function":
        adapted["role"] = "tool"
    calls = list(adapted.get("tool_calls") or ())
    if function := adapted.pop("function_call", None):
        calls.append({"function": function})
    if calls:
        adapted["tool_calls"] = [_call(call, f"{where}.tool_calls.{number}") for number, call in enumerate(calls)]
    return adapted


def _call(call: Mapping[str, Any], where: str) -> dict[str, Any]:
    if "function" not in call:
        raise invalid("This model supports tools of type 'function' only.", where, "unsupported_value")
    function = call["function"]
    try:
        arguments = json.loads(function["arguments"] or "{}")
    except ValueError as error:
        where = f"{where}.function.arguments"
        raise invalid(f"Invalid '{where}': it is not JSON ({error}).", where, "invalid_value") from error
    return {**call, "type": "function", "function": {**function, "arguments": arguments}}
