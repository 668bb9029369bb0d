"""Requests that are passed on to an engine's server, looked at before: many servers ignore what they do not know."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from ..errors import APIError
from .no_effect import NO_EFFECT
from .routes import CHAT_COMPLETIONS, COMPLETIONS, EMBEDDINGS
from .schemas import AllowedTools, ChatRequest, CompletionRequest, EmbeddingRequest
from .stop_strings import RETURN_STOP_REASON
from .validation import check, invalid, unknown_field

SCHEMAS: Mapping[str, Any] = {
    CHAT_COMPLETIONS: ChatRequest,
    COMPLETIONS: CompletionRequest,
    EMBEDDINGS: EmbeddingRequest,
}
"""Path -> the fields that OpenAI's API has there."""

GENERATION_FIELDS = frozenset(
    {
        "frequency_penalty",
        "logprobs",
        "max_tokens",
        "model",
        "n",
        "presence_penalty",
        "seed",
        "stop",
        "stream",
        "stream_options",
        "temperature",
        "top_p",
    }
)
"""Fields of chats and completions that every engine with a list of its own acts on."""

_USUAL: Mapping[str, Any] = {
    "function_call": "auto",
    "modalities": ["text"],
    "n": 1,
    "parallel_tool_calls": True,
    "response_format": {"type": "text"},
    "verbosity": "medium",
}
"""Fields -> the value by which they ask for what is the case anyway."""

_OF_EARLIER_ANSWERS = frozenset({"annotations"})
"""Members of a message that tell how an answer was made; clients hand answers back whole."""

_ASKS_WITH_NOTHING = frozenset({"web_search_options"})
"""Fields that ask for something even where there is nothing in them."""


def checked(path: str, json: Mapping[str, Any]) -> dict[str, Any]:
    """The request without what is null; fields that OpenAI's API does not have are left alone.

    Raises:
        APIError: 400, naming the field that has a wrong type or value.
    """
    json = {name: value for name, value in json.items() if value is not None}
    if (schema := SCHEMAS.get(path)) is not None:
        check({"model": "", **json}, schema)
    if path == CHAT_COMPLETIONS:
        _check_together(json)
    if "stop" in json:
        # Some clients send an empty string for none, at which a server would stop at once.
        stops = json["stop"] if isinstance(json["stop"], list) else [json["stop"]]
        json["stop"] = [stop for stop in stops if stop]
    return json


def _check_together(json: Mapping[str, Any]) -> None:
    """Refuse fields that mean nothing without another, and what a chat template could not be given."""
    if json.get("top_logprobs") and not json.get("logprobs"):
        raise invalid("'logprobs' must be true when 'top_logprobs' is given.", "top_logprobs")
    if not json.get("tools") and json.get("tool_choice") not in (None, "none", "auto"):
        raise invalid("'tool_choice' is only allowed when 'tools' are specified.", "tool_choice")
    if not isinstance(json.get("chat_template_kwargs", {}), dict):
        message = "Invalid type for 'chat_template_kwargs': expected an object."
        raise invalid(message, "chat_template_kwargs", "invalid_type")


def without_empty_stops(json: dict[str, Any]) -> dict[str, Any]:
    """The request without empty stop strings, which some clients send for none; the same object where it has none."""
    stop = json.get("stop")
    if stop == "" or (isinstance(stop, list) and "" in stop):
        return {**json, "stop": [string for string in stop if string != ""]}
    return json


def refuse(json: Mapping[str, Any], fields: Mapping[str, str], engine: str) -> None:
    """Refuse fields that would change the answer, and that the engine passes over in silence.

    Args:
        fields: name -> what to do instead, or nothing.

    Raises:
        APIError: 400, for the first of them that asks for anything.
    """
    for name, instead in fields.items():
        if json.get(name):
            raise _unsupported(name, instead, engine)


def only_honoured(
    path: str,
    json: dict[str, Any],
    honoured: Mapping[str, Collection[str]],
    engine: str,
    instead: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The request without what has no effect; what the engine would ignore is refused.

    It is the same object where nothing is left out.

    Args:
        honoured: path -> the fields that the engine's server acts on there. Other paths are left alone.
        instead: a field that is not honoured -> what to do instead.

    Raises:
        APIError: 400, for the first field that asks for anything and would be ignored.
    """
    fields = honoured.get(path)
    if fields is None:
        return json
    choice = json.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        json = _only_allowed(json, choice)
    others = [name for name in json if name not in fields and name != RETURN_STOP_REASON]
    if not others:
        return json
    for name in others:
        value = json[name]
        if name not in NO_EFFECT and _asks(name, value):
            if name in (instead or ()) or name in SCHEMAS[path].__struct_fields__:
                raise _unsupported(name, (instead or {}).get(name, ""), engine)
            raise unknown_field(name)
    return {name: value for name, value in json.items() if name not in others}


def _unsupported(name: str, instead: str, engine: str) -> APIError:
    how = f"; {instead}" if instead else ""
    return invalid(f"{engine} does not support '{name}'{how}.", name, "unsupported_parameter")


def _asks(name: str, value: Any) -> bool:
    """Whether a field with this value asks for anything."""
    if value is None or name in _USUAL:
        return value is not None and value != _USUAL[name]
    return bool(value) or name in _ASKS_WITH_NOTHING


def _only_allowed(json: Mapping[str, Any], choice: Mapping[str, Any]) -> dict[str, Any]:
    """The request with only the tools that may be called, for servers that do not know `allowed_tools`."""
    allowed = check(choice, AllowedTools, "tool_choice").allowed_tools
    names = {str((tool.get("function") or {}).get("name")) for tool in allowed.tools}
    offered = {tool["function"]["name"]: tool for tool in json.get("tools") or () if "function" in tool}
    for name in sorted(names - offered.keys()):
        message = f"Invalid value for 'tool_choice': '{name}' is not among 'tools'."
        raise invalid(message, "tool_choice", "invalid_value")
    tools = [tool for name, tool in offered.items() if name in names]
    return {**json, "tools": tools, "tool_choice": allowed.mode}


def shown_messages(messages: Sequence[Any], shown: Collection[str], engine: str) -> list[Any]:
    """A chat's messages for a server that passes over the members which it does not know.

    What a refusal, a call of a function or a thought says stands where the server looks for it. What is no message is
    left to the server.

    Args:
        shown: the members of a message that the server shows to its model.

    Raises:
        APIError: 400, naming a member that the model would not be shown.
    """
    calls: dict[str, str] = {}
    return [
        _shown(message, number, shown, calls, engine) if isinstance(message, dict) else message
        for number, message in enumerate(messages)
    ]


def _shown(
    message: Mapping[str, Any], number: int, shown: Collection[str], calls: dict[str, str], engine: str
) -> dict[str, Any]:
    """One message; `calls` has the id of each function's last call."""
    result = {name: value for name, value in message.items() if value or name in ("role", "content")}
    _show_refusals(result)
    function = result.get("function_call")
    if isinstance(function, dict):
        call_id = calls[str(function.get("name"))] = f"call_{number}"
        call = {"id": call_id, "type": "function", "function": result.pop("function_call")}
        result["tool_calls"] = [*result.get("tool_calls", ()), call]
    if result.get("role") == "function":
        name = str(result.get("name"))
        result |= {"role": "tool", "tool_call_id": calls.get(name, name)}
    _check_calls(result.get("tool_calls"), number)
    if result.get("role") == "assistant" and result.keys() <= {"role", "content"} and result.get("content") is None:
        where = f"messages.{number}.content"
        raise invalid(f"Invalid value for '{where}': expected a string, got null.", where, "invalid_type")
    for name, other in (("reasoning", "reasoning_content"), ("reasoning_content", "reasoning")):
        if name in result and name not in shown:
            result.setdefault(other, result.pop(name))
    for name in sorted(result.keys() - shown):
        # The id of a tool's call says of which tool the result is.
        if name not in _OF_EARLIER_ANSWERS and not (name == "name" and result.get("role") == "tool"):
            raise _unsupported(f"messages.{number}.{name}", "the model would not be shown it", engine)
        del result[name]
    return result


def _check_calls(calls: Any, number: int) -> None:
    """Refuse arguments that are not JSON: templates are given them decoded."""
    for at, call in enumerate(calls if isinstance(calls, list) else ()):
        function = call.get("function") if isinstance(call, dict) else None
        arguments = function.get("arguments") if isinstance(function, dict) else None
        if not arguments or not isinstance(arguments, str):
            continue
        try:
            msgspec.json.decode(arguments)
        except msgspec.DecodeError as error:
            where = f"messages.{number}.tool_calls.{at}.function.arguments"
            raise invalid(f"Invalid '{where}': it is not JSON ({error}).", where, "invalid_value") from error


def _show_refusals(message: dict[str, Any]) -> None:
    """Put what an assistant refused with into its content."""
    content = message.get("content")
    refusal = message.pop("refusal", None)
    refused = [{"type": "text", "text": refusal}] if refusal else []
    if isinstance(content, list):
        message["content"] = [*map(_as_text, content), *refused]
    elif refusal:
        message["content"] = f"{content}\n{refusal}" if content else refusal


def _as_text(part: Any) -> Any:
    """A content part; one that refuses as a text, with whatever else is in it: that is the server's to refuse."""
    if not isinstance(part, dict) or part.get("type") != "refusal":
        return part
    others = {name: value for name, value in part.items() if name not in ("type", "refusal")}
    return {"type": "text", "text": part.get("refusal"), **others}
