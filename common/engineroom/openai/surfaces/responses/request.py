"""A Responses request as a chat request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from ....errors import APIError
from ...validation import check, invalid, not_served
from ..field_paths import FieldPaths
from .items import ChatMessages, FunctionName
from .schema import (
    AllowedToolsChoice,
    AnyJSON,
    FunctionToolDefinition,
    ItemReference,
    JSONOfSchema,
    NamedFunctionChoice,
    Namespace,
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

_OWN = frozenset(ResponsesRequest.__struct_fields__) | _MOVED.keys() | {"client_metadata"}
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
            raise not_served(name, instead)
    return request


async def to_items(
    request: ResponsesRequest, find_item: Callable[[str, str], Awaitable[dict[str, Any]]]
) -> list[dict[str, Any]]:
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
            item = await find_item(check(item, ItemReference, f"input.{number}").id, f"input.{number}.id")
        items.append(item)
    return items


def to_chat(
    request: ResponsesRequest,
    json: Mapping[str, Any],
    earlier: Sequence[Mapping[str, Any]],
    items: Sequence[Mapping[str, Any]],
) -> tuple[dict[str, Any], FieldPaths, Mapping[str, FunctionName]]:
    """The chat request, where each part of it comes from, and the functions by their names in it.

    Args:
        json: the request as it came.
        earlier: the items of the conversation that `previous_response_id` names.
        items: those of the request.

    Raises:
        APIError: naming the field that cannot be served.
    """
    paths = FieldPaths(dict(_NAMES))
    chat = {name: value for name, value in json.items() if name not in _OWN and value is not None}
    tools, functions = _tools(request, paths)
    messages = ChatMessages(paths, {function: name for name, function in functions.items()})
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
    if not tools and request.tool_choice not in (None, "none", "auto"):
        raise invalid("'tool_choice' is only allowed when 'tools' are specified.", "tool_choice")
    return chat | tools, paths, functions


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


def _tools(request: ResponsesRequest, paths: FieldPaths) -> tuple[dict[str, Any], Mapping[str, FunctionName]]:
    """`tools` and `tool_choice` of the chat, empty without any, and the functions by their names in the chat.

    Of functions that only some may be called of, only those are offered.
    """
    choice, names = _choice(request)
    tools: list[dict[str, Any]] = []
    functions: dict[str, FunctionName] = {}
    for tool, where, namespace in _definitions(request):
        if tool.get("type") != "function":
            raise _not_a_function(tool.get("type"), f"{where}.type")
        definition = check(tool, FunctionToolDefinition, where)
        _check_use(definition, where)
        name = definition.name
        if namespace is not None and name in functions:
            name = f"{namespace.name}__{name}"
        functions[name] = FunctionName(definition.name, namespace.name if namespace else None)
        if names is not None and definition.name not in names:
            continue
        function: dict[str, Any] = {"name": name}
        optional = {field: getattr(definition, field) for field in ("description", "parameters", "strict")}
        if namespace is not None:
            optional["description"] = f"{namespace.description} {definition.description or ''}".strip()
        function |= {field: value for field, value in optional.items() if value is not None}
        paths.add(f"tools.{len(tools)}", where)
        paths.add(f"tools.{len(tools)}.function", where)
        tools.append({"type": "function", "function": function})
    for name in sorted((names or set()) - {function.name for function in functions.values()}):
        raise invalid(f"Invalid value for 'tool_choice': '{name}' is not among 'tools'.", "tool_choice")
    if not tools:
        return {}, functions
    return {"tools": tools, **({} if choice is None else {"tool_choice": choice})}, functions


def _check_use(definition: FunctionToolDefinition, where: str) -> None:
    """Refuse a function that is not simply the model's to call."""
    callers = definition.allowed_callers
    unserved = {
        "allowed_callers": callers is not None and "direct" not in callers,
        "async": definition.is_async,
        "defer_loading": definition.defer_loading,
    }
    for name, asked in unserved.items():
        if asked:
            message = f"Invalid '{where}.{name}': here the model is shown every function, calls it itself, and waits."
            raise invalid(message, f"{where}.{name}", "unsupported_value")


def _definitions(request: ResponsesRequest) -> Iterator[tuple[Mapping[str, Any], str, Namespace | None]]:
    """Each tool, its path, and the namespace that it stands in."""
    for number, tool in enumerate(request.tools or ()):
        where = f"tools.{number}"
        if tool.get("type") == "namespace":
            namespace = check(tool, Namespace, where)
            for at, inner in enumerate(namespace.tools):
                yield inner, f"{where}.tools.{at}", namespace
        elif not _searches_nothing(tool):
            yield tool, where, None


def _searches_nothing(tool: Mapping[str, Any]) -> bool:
    """Whether a tool searches only what OpenAI has stored of the web, which here is nothing. Codex always sends it."""
    return str(tool.get("type")).startswith("web_search") and tool.get("external_web_access") is False


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
