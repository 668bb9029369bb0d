"""Requests refused for what the engine declares it cannot do, so that nothing asked for is ignored in silence.

Only what a request clearly asks for is looked at here. A field of a wrong type is left to whoever checks types.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..engine import Capabilities
from ..errors import APIError
from .limits import RequestLimits
from .routes import CHAT_COMPLETIONS, COMPLETIONS, MESSAGES, RESPONSES, TEXT_ROUTES
from .validation import invalid

_WITH_TOOLS = frozenset({CHAT_COMPLETIONS, RESPONSES, MESSAGES})
_TOOL_FIELDS = frozenset({"tools", "tool_choice", "functions", "function_call"})

_TEXTS = (
    "messages",
    "prompt",
    "input",
    "system",
    "instructions",
    "content",
    "documents",
    "query",
    "suffix",
    "input_prefix",
    "input_suffix",
)
"""Fields with what a model is to read, on any route."""

_PART_CAPABILITIES = {
    "image_url": "images",
    "input_image": "images",
    "image": "images",
    "input_audio": "audio",
    "audio_url": "audio",
    "video_url": "video",
    "file": "files",
    "input_file": "files",
    "document": "files",
}
"""Types of content parts (OpenAI's chat and responses, Anthropic's messages, and engines' own) -> what they need."""


def check_capabilities(path: str, json: Mapping[str, Any], capabilities: Capabilities) -> None:
    """Refuse what the engine cannot do.

    Args:
        path: the route, which decides what the fields mean.
        json: the request's body.

    Raises:
        APIError: 400, `param` the field that asks for what is not offered. The sentence is the engine's own where
            its capabilities give a reason.
    """
    if path in TEXT_ROUTES:
        _check_choices(json, capabilities)
        _check_logprobs(path, json, capabilities)
        _check_format(json.get("response_format"), "response_format", capabilities)
    elif path == RESPONSES:
        _check_included_logprobs(json, capabilities)
        _check_format(_inner(json, "text", "format"), "text.format", capabilities)
    elif path == MESSAGES:
        _check_format(_inner(json, "output_config", "format"), "output_config.format", capabilities)
        _check_format(json.get("output_format"), "output_format", capabilities)
    asks_for_tools = not json.keys().isdisjoint(_TOOL_FIELDS)
    if path in _WITH_TOOLS:
        if asks_for_tools:
            _check_tools(json, capabilities)
        _check_parts(json, capabilities)
    if asks_for_tools and path == CHAT_COMPLETIONS and not capabilities.assumed:
        _check_custom_tools(json)


def check_prompt(json: Mapping[str, Any], limits: RequestLimits) -> None:
    """Refuse more messages, or more text, than the limits allow.

    Raises:
        APIError: 400, naming the field, the limit and its setting.
    """
    for field, messages, characters in _prompt_sizes(json):
        if messages > limits.max_messages:
            limits.check("max_messages", messages, field, "messages, content parts, tool calls and inputs")
        if characters > limits.max_prompt_characters:
            limits.check("max_prompt_characters", characters, field, "characters")


def prompt_characters(json: Mapping[str, Any]) -> int:
    """Characters that a model is to read."""
    return max((characters for _, _, characters in _prompt_sizes(json)), default=0)


def _prompt_sizes(json: Mapping[str, Any]) -> Iterator[tuple[str, int, int]]:
    """Each field with text, the messages, content parts, tool calls and inputs up to there, and the characters."""
    messages = characters = 0
    for field in _TEXTS:
        value = json.get(field)
        if value is None:
            continue
        if isinstance(value, str):
            characters += len(value)
        elif isinstance(value, list) and value and not isinstance(value[0], int):
            messages += len(value)
            for item in value:
                if isinstance(item, dict):
                    calls = item.get("tool_calls")
                    if isinstance(calls, list):
                        messages += len(calls)
                    item = item.get("content") or item.get("text") or item.get("output")
                if isinstance(item, str):
                    characters += len(item)
                elif isinstance(item, list) and not (item and isinstance(item[0], int)):
                    messages += len(item)
                    texts = (part.get("text") for part in item if isinstance(part, dict))
                    characters += sum(len(text) for text in texts if isinstance(text, str))
        else:
            continue
        yield field, messages, characters


def _check_choices(json: Mapping[str, Any], capabilities: Capabilities) -> None:
    n = json.get("n")
    if not capabilities.several_choices and isinstance(n, (int, float)) and n > 1:
        raise _refused(capabilities, "several_choices", "n", "This engine returns one choice; 'n' must be 1.")


def _check_logprobs(path: str, json: Mapping[str, Any], capabilities: Capabilities) -> None:
    if capabilities.logprobs:
        return
    # In a chat `logprobs` is a switch. In a completion it is a number, and 0 asks for the chosen token's own.
    logprobs = json.get("logprobs")
    asked = logprobs is not None and logprobs is not False if path == COMPLETIONS else bool(logprobs)
    if asked or json.get("top_logprobs"):
        param = "logprobs" if asked else "top_logprobs"
        raise _refused(capabilities, "logprobs", param, f"This engine does not support logprobs; leave out '{param}'.")


def _check_included_logprobs(json: Mapping[str, Any], capabilities: Capabilities) -> None:
    include = json.get("include")
    included = isinstance(include, list) and "message.output_text.logprobs" in include
    if not capabilities.logprobs and (included or json.get("top_logprobs")):
        param = "include" if included else "top_logprobs"
        raise _refused(
            capabilities, "logprobs", param, f"This engine does not support logprobs; leave them out of '{param}'."
        )


def _check_format(wanted: Any, param: str, capabilities: Capabilities) -> None:
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if not capabilities.json_schema and kind in ("json_schema", "json_object"):
        message = f"This engine cannot enforce a '{param}' of type '{kind}'."
        raise _refused(capabilities, "json_schema", param, message)


def _inner(json: Mapping[str, Any], outer: str, field: str) -> Any:
    """A field of a field, which may be anything."""
    value = json.get(outer)
    return value.get(field) if isinstance(value, dict) else None


def _check_tools(json: Mapping[str, Any], capabilities: Capabilities) -> None:
    if capabilities.tools == "forced":
        return
    for tools, choice in (("tools", "tool_choice"), ("functions", "function_call")):
        kind = _choice_kind(json.get(choice))
        if not json.get(tools) or kind == "none":
            continue
        if capabilities.tools == "none":
            raise _refused(capabilities, "tools", tools, f"This engine does not support tools; leave out '{tools}'.")
        if kind not in (None, "auto"):
            message = f"This engine leaves it to the model whether to call a tool; '{choice}' may be `auto` or `none`."
            raise _refused(capabilities, "tools", choice, message)


def _choice_kind(choice: Any) -> Any:
    """`auto`, `none` or what else a choice demands; that of a list of allowed tools is its mode."""
    if not isinstance(choice, dict):
        return choice
    if choice.get("type") != "allowed_tools":
        return choice.get("type")
    # A chat's list stands in an object of its own.
    allowed = choice.get("allowed_tools", choice)
    return allowed.get("mode") if isinstance(allowed, dict) else allowed


def _check_custom_tools(json: Mapping[str, Any]) -> None:
    """No engine holds a tool's input to a grammar, or to nothing at all."""
    tools = json.get("tools")
    places = [(f"tools.{number}", tool) for number, tool in enumerate(tools if isinstance(tools, list) else ())]
    for where, tool in (*places, ("tool_choice", json.get("tool_choice"))):
        if isinstance(tool, dict) and tool.get("type") == "custom":
            message = "Custom tools are not supported by this model; use a tool of type 'function'."
            raise invalid(message, f"{where}.type", "unsupported_value")


def _check_parts(json: Mapping[str, Any], capabilities: Capabilities) -> None:
    for where, kind in _typed_parts(json):
        name = _PART_CAPABILITIES.get(kind)
        if name is not None and not getattr(capabilities, name):
            message = f"Invalid '{where}': this model does not accept content of type '{kind}'."
            raise invalid(capabilities.reasons.get(name) or message, where, "unsupported_content_type")


def _typed_parts(json: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each content part that has a type: the field's dotted path, and the type."""
    for field in ("messages", "input"):
        messages = json.get(field)
        for number, message in enumerate(messages if isinstance(messages, list) else ()):
            if isinstance(message, dict):
                # `output` is what a tool of Responses says; Messages have a tool's result among their parts.
                for name in ("content", "output"):
                    content = message.get(name)
                    if isinstance(content, list):
                        yield from _parts_in(content, f"{field}.{number}.{name}")


def _parts_in(content: list[Any], where: str) -> Iterator[tuple[str, str]]:
    for at, part in enumerate(content):
        if isinstance(part, dict) and isinstance(part.get("type"), str):
            yield f"{where}.{at}", part["type"]
            inner = part.get("content")
            if part["type"] == "tool_result" and isinstance(inner, list):
                yield from _parts_in(inner, f"{where}.{at}.content")


def _refused(capabilities: Capabilities, name: str, param: str, message: str) -> APIError:
    return invalid(capabilities.reasons.get(name) or message, param, "unsupported_parameter")
