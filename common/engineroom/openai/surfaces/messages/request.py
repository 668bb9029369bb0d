"""A Messages request as a chat request."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ...stop_strings import RETURN_STOP_REASON
from ...validation import check, invalid, not_served
from ..field_paths import FieldPaths
from .schema import (
    AnyChoice,
    AssistantTurn,
    MessagesRequest,
    NamedChoice,
    NoChoice,
    ThinkingOff,
    ToolDefinition,
)
from .turns import to_messages

INCLUDE_STOP = "include_stop_str_in_output"
"""Of engines that can leave a stop string in the text, which shows what ended it. Others are asked to say it."""

NOT_SERVED = {
    "billing_policy": "there is no billing",
    "compaction": "send less of the conversation",
    "container": "no code is run here",
    "diagnostics": "there are none",
    "fallback_credit_token": "there is no other model to fall back on",
    "fallbacks": "there is no other model to fall back on",
    "inference_geo": "the worker runs where it was started",
    "mcp_servers": "give their tools as 'tools', and call them yourself",
    "thread": "send the whole conversation as 'messages'",
}
"""Fields of Anthropic's that would change the answer, and what to do instead."""

_FOREIGN = {
    "max_completion_tokens": "max_tokens",
    "n": None,
    "response_format": "output_config.format",
    "stop": "stop_sequences",
    "functions": "tools",
    "reasoning_effort": "output_config.effort",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    "logprobs": None,
    "top_logprobs": None,
}
"""A chat's fields that Messages do not have -> their place here."""

_OWN = frozenset(MessagesRequest.__struct_fields__) | _FOREIGN.keys() | {"anthropic_beta", "betas"}
"""All others are passed on: a chat's sampling parameters, and the engine's own."""

_NAMES = {
    "reasoning_effort": "output_config.effort",
    "stop": "stop_sequences",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    "chat_template_kwargs": "thinking",
    "continue_final_message": "messages",
}
"""Fields of the chat request -> those of the request that they are made of."""

_KEEPING_THINKING = "clear_thinking_"
"""Edits of a context that say how much earlier thinking stays, which here the chat template decides."""


def checked_messages_request(json: Mapping[str, Any]) -> MessagesRequest:
    """The request, its fields of the right types and values.

    Raises:
        APIError: 400, naming a field that is wrong, that Messages do not have, or that is not served here.
    """
    for name, place in _FOREIGN.items():
        if json.get(name) is not None:
            instead = f" Use '{place}' instead." if place else ""
            raise invalid(f"{name}: Extra inputs are not permitted.{instead}", name, "unsupported_parameter")
    request = check(json, MessagesRequest)
    for name, instead in NOT_SERVED.items():
        if json.get(name):
            raise not_served(name, instead)
    if request.speed == "fast":
        raise not_served("speed", "there is one speed")
    edits = (request.context_management or {}).get("edits") or []
    for number, edit in enumerate(edits if isinstance(edits, list) else [edits]):
        kind = str(edit.get("type") if isinstance(edit, dict) else edit)
        if not kind.startswith(_KEEPING_THINKING):
            where = f"context_management.edits.{number}"
            raise invalid(f"Invalid '{where}': edits of type '{kind}' are not served here.", where)
    budget = getattr(request.thinking, "budget_tokens", 0)
    if budget >= request.max_tokens:
        raise invalid(
            "'max_tokens' must be greater than 'thinking.budget_tokens'.", "thinking.budget_tokens", "invalid_value"
        )
    return request


def to_chat_request(
    request: MessagesRequest, json: Mapping[str, Any], known: Collection[str]
) -> tuple[dict[str, Any], FieldPaths]:
    """The chat request, and where each part of it comes from.

    Args:
        json: the request as it came.
        known: the engine's parameters beyond OpenAI's.

    Raises:
        APIError: naming the field that cannot be served.
    """
    paths = FieldPaths(dict(_NAMES))
    wanted = request.output_config.format if request.output_config else None
    where = "output_config.format" if wanted else "output_format"
    for name in ("response_format", "response_format.json_schema"):
        paths.add(name, where)
    wanted = wanted or request.output_format
    schema = {"name": "output", "schema": wanted.schema, "strict": True} if wanted else None
    chat = {name: value for name, value in json.items() if name not in _OWN and value is not None}
    chat |= {
        "model": request.model,
        "messages": to_messages(request.system, request.messages, paths),
        "max_tokens": request.max_tokens,
    }
    plain = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop": request.stop_sequences or None,
        "reasoning_effort": request.output_config and request.output_config.effort,
        "response_format": schema and {"type": "json_schema", "json_schema": schema},
        "stream": request.stream or None,
    }
    chat |= {name: value for name, value in plain.items() if value is not None}
    if request.stop_sequences:
        chat[INCLUDE_STOP if INCLUDE_STOP in known else RETURN_STOP_REASON] = True
    if request.top_k is not None:
        if "top_k" not in known:
            raise invalid("This engine has no 'top_k'; leave it out.", "top_k", "unsupported_parameter")
        chat["top_k"] = request.top_k
    chat |= _thinking(request, json, known)
    chat |= _continued(request, known)
    chat |= _tools(request, paths)
    return chat, paths


def _thinking(request: MessagesRequest, json: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """Whether the chat template lets the model think: as in Anthropic's API, only where the request says so."""
    on = request.thinking is not None and not isinstance(request.thinking, ThinkingOff)
    if "chat_template_kwargs" in known:
        return {"chat_template_kwargs": {"enable_thinking": on, **(json.get("chat_template_kwargs") or {})}}
    return {}


def _continued(request: MessagesRequest, known: Collection[str]) -> dict[str, Any]:
    """The last message is the assistant's, and is to be gone on with."""
    if not isinstance(request.messages[-1], AssistantTurn):
        return {}
    if "continue_final_message" not in known:
        raise invalid(
            "This engine cannot go on with an assistant's message: 'messages' must end with a message of the user.",
            f"messages.{len(request.messages) - 1}",
            "unsupported_value",
        )
    return {"continue_final_message": True, "add_generation_prompt": False}


def _tools(request: MessagesRequest, paths: FieldPaths) -> dict[str, Any]:
    tools: list[dict[str, Any]] = []
    for number, tool in enumerate(request.tools or ()):
        where = f"tools.{number}"
        kind = tool.get("type")
        if kind not in (None, "custom"):
            raise invalid(
                f"Invalid '{where}.type': there are no tools of type '{kind}' here, only those that you run yourself.",
                f"{where}.type",
                "unsupported_value",
            )
        definition = check(tool, ToolDefinition, where)
        for name in ("defer_loading", "input_examples"):
            if getattr(definition, name):
                message = f"Invalid '{where}.{name}': it is not served here."
                raise invalid(message, f"{where}.{name}", "unsupported_value")
        if definition.allowed_callers is not None and "direct" not in definition.allowed_callers:
            message = f"Invalid '{where}.allowed_callers': only the model calls tools here; add 'direct'."
            raise invalid(message, f"{where}.allowed_callers", "unsupported_value")
        function: dict[str, Any] = {"name": definition.name, "parameters": definition.input_schema}
        optional = {"description": definition.description, "strict": definition.strict}
        function |= {name: value for name, value in optional.items() if value is not None}
        paths.add(f"{where}.function", where)
        paths.add(f"{where}.function.parameters", f"{where}.input_schema")
        tools.append({"type": "function", "function": function})
    choice = request.tool_choice
    if not tools:
        if isinstance(choice, (AnyChoice, NamedChoice)):
            raise invalid("'tool_choice' is only allowed when 'tools' are specified.", "tool_choice")
        return {}
    chat: dict[str, Any] = {"tools": tools}
    if isinstance(choice, NamedChoice):
        if choice.name not in {tool["function"]["name"] for tool in tools}:
            raise invalid(f"Tool '{choice.name}' not found in provided 'tools'.", "tool_choice.name", "invalid_value")
        chat["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    elif isinstance(choice, (AnyChoice, NoChoice)):
        chat["tool_choice"] = "required" if isinstance(choice, AnyChoice) else "none"
    if choice is not None and choice.disable_parallel_tool_use:
        chat["parallel_tool_calls"] = False
    return chat
