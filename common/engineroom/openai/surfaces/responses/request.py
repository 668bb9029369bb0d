"""A Responses request as a chat request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ....errors import APIError
from ...validation import check, invalid
from ..field_paths import FieldPaths
from .items import ChatMessages
from .schema import (
    AllowedToolsChoice,
    AnyJSON,
    FunctionToolDefinition,
    ItemReference,
    JSONOfSchema,
    NamedFunctionChoice,
    ResponsesRequest,
)

_NOT_SERVED = {
    "access_programs": "they are OpenAI's own",
    "background": "ask without it, and stream the answer where it takes long",
    "context_management": "send less of the conversation, or set 'truncation' to 'auto'",
    "conversation": "use 'previous_response_id', or send the whole conversation as 'input'",
    "image": "there is no tool that makes images",
    "moderation": "there is no moderation",
    "prompt": "there are no stored prompts; send 'instructions' and 'input'",
}
"""Fields of OpenAI's that would change the answer, and what to do instead."""

_MOVED = {
    "audio": None,
    "function_call": "tool_choice",
    "functions": "tools",
    "logprobs": "include",
    "max_completion_tokens": "max_output_tokens",
    "max_tokens": "max_output_tokens",
    "messages": "input",
    "modalities": None,
    "n": None,
    "prediction": None,
    "reasoning_effort": "reasoning.effort",
    "response_format": "text.format",
    "verbosity": "text.verbosity",
    "web_search_options": None,
}
"""A chat's fields that Responses do not have -> their place here."""

_OWN = frozenset(ResponsesRequest.__struct_fields__) | _MOVED.keys()
"""All others are passed on: a chat's sampling parameters, and the engine's own."""

_LOGPROBS = "message.output_text.logprobs"

_NAMES = {
    "logprobs": "include",
    "max_tokens": "max_output_tokens",
    "messages": "input",
    "reasoning_effort": "reasoning.effort",
    "response_format": "text.format",
    "response_format.json_schema": "text.format",
    "verbosity": "text.verbosity",
}
"""Fields of the chat request -> those of the request that they are made of."""


def checked_request(json: Mapping[str, Any]) -> ResponsesRequest:
    """The request, its fields of the right types and values.

    Raises:
        APIError: 400, naming a field that is wrong, that Responses do not have, or that is not served here.
    """
    for name, place in _MOVED.items():
        if json.get(name) is not None:
            moved = f" In the Responses API, this parameter has moved to '{place}'." if place else ""
            raise invalid(f"Unsupported parameter: '{name}'.{moved}", name, "unsupported_parameter")
    request = check(json, ResponsesRequest)
    for name, instead in _NOT_SERVED.items():
        if getattr(request, name):
            raise invalid(f"'{name}' is not served here; {instead}.", name, "unsupported_parameter")
    return request


def to_items(request: ResponsesRequest, find_item: Callable[[str, str], dict[str, Any]]) -> list[dict[str, Any]]:
    """The input as items, in the client's own words; what is only referred to is fetched.

    Args:
        find_item: the item of an id, for references that stand at a path; raises APIError.
    """
    if isinstance(request.input, str):
        return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": request.input}]}]
    items = []
    for number, item in enumerate(request.input):
        kind = item.get("type")
        # A reference is the only item whose type may be null.
        if kind == "item_reference" or (kind is None and "role" not in item and "id" in item):
            item = find_item(check(item, ItemReference, f"input.{number}").id, f"input.{number}.id")
        items.append(item)
    return items


def to_chat(
    request: ResponsesRequest,
    json: Mapping[str, Any],
    earlier: Sequence[Mapping[str, Any]],
    items: Sequence[Mapping[str, Any]],
) -> tuple[dict[str, Any], FieldPaths]:
    """The chat request, and where each part of it comes from.

    Args:
        json: the request as it came.
        earlier: the items of the conversation that `previous_response_id` names.
        items: those of the request.

    Raises:
        APIError: naming the field that cannot be served.
    """
    paths = FieldPaths(dict(_NAMES))
    chat = {name: value for name, value in json.items() if name not in _OWN and value is not None}
    messages = ChatMessages(paths)
    if request.instructions:
        messages.add_instructions(request.instructions)
    for item in earlier:
        messages.add(item, "previous_response_id")
    for number, item in enumerate(items):
        messages.add(item, "input" if isinstance(request.input, str) else f"input.{number}")
    chat |= {"model": request.model, "messages": messages.finish()}
    plain = {
        "max_tokens": request.max_output_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "reasoning_effort": request.reasoning and request.reasoning.effort,
        "verbosity": request.text and request.text.verbosity,
        "response_format": _response_format(request),
        "parallel_tool_calls": False if request.parallel_tool_calls is False else None,
        "stream": request.stream or None,
    }
    chat |= {name: value for name, value in plain.items() if value is not None}
    if _LOGPROBS in (request.include or ()) or request.top_logprobs:
        chat |= {"logprobs": True, "top_logprobs": request.top_logprobs or 0}
    if request.tools:
        chat |= _tools(request, paths)
    elif request.tool_choice not in (None, "none", "auto"):
        raise invalid("'tool_choice' is only allowed when 'tools' are specified.", "tool_choice")
    return chat, paths


def _response_format(request: ResponsesRequest) -> dict[str, Any] | None:
    wanted = request.text and request.text.format
    if isinstance(wanted, AnyJSON):
        return {"type": "json_object"}
    if isinstance(wanted, JSONOfSchema):
        fields: dict[str, Any] = {"name": wanted.name, "schema": wanted.schema}
        optional = {"description": wanted.description, "strict": wanted.strict}
        fields |= {name: value for name, value in optional.items() if value is not None}
        return {"type": "json_schema", "json_schema": fields}
    return None


def _tools(request: ResponsesRequest, paths: FieldPaths) -> dict[str, Any]:
    """`tools` and `tool_choice` of the chat; of tools that only some may be called of, only those are offered."""
    choice, names = _choice(request)
    tools: list[dict[str, Any]] = []
    offered: set[str] = set()
    for number, tool in enumerate(request.tools or ()):
        where = f"tools.{number}"
        kind = tool.get("type")
        if kind != "function":
            raise _not_a_function(kind, f"{where}.type")
        definition = check(tool, FunctionToolDefinition, where)
        offered.add(definition.name)
        if names is not None and definition.name not in names:
            continue
        function: dict[str, Any] = {"name": definition.name}
        optional = {name: getattr(definition, name) for name in ("description", "parameters", "strict")}
        function |= {name: value for name, value in optional.items() if value is not None}
        paths.add(f"tools.{len(tools)}", where)
        paths.add(f"tools.{len(tools)}.function", where)
        tools.append({"type": "function", "function": function})
    for name in sorted((names or set()) - offered):
        raise invalid(f"Invalid value for 'tool_choice': '{name}' is not among 'tools'.", "tool_choice")
    return {"tools": tools, **({} if choice is None else {"tool_choice": choice})}


def _choice(request: ResponsesRequest) -> tuple[Any, set[str] | None]:
    """`tool_choice` of the chat, and the names of the tools that may be called where not all may."""
    choice = request.tool_choice
    if choice is None or isinstance(choice, str):
        return choice, None
    kind = choice.get("type")
    if kind == "function":
        name = check(choice, NamedFunctionChoice, "tool_choice").name
        return {"type": "function", "function": {"name": name}}, {name}
    if kind == "allowed_tools":
        allowed = check(choice, AllowedToolsChoice, "tool_choice")
        for number, tool in enumerate(allowed.tools):
            if tool.get("type") != "function":
                raise _not_a_function(tool.get("type"), f"tool_choice.tools.{number}.type")
        return allowed.mode, {str(tool.get("name")) for tool in allowed.tools}
    raise _not_a_function(kind, "tool_choice.type")


def _not_a_function(kind: Any, where: str) -> APIError:
    message = f"Invalid '{where}': this model calls functions only; there are no tools of type '{kind}' here."
    return invalid(message, where, "unsupported_value")
