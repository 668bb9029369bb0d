"""A tool call that the request demands. llama.cpp only forbids the answer to end before one, so the model talks on.

Here the answer's grammar is the call itself: `{"name": …, "arguments": …}` of one of the tools, with the tools still
in the prompt. The text is then made a tool call of.
"""

from __future__ import annotations

import re
import secrets
from typing import Any

from engineroom.errors import APIError
from engineroom.openai.serving.tool_calls import schema

_NAME = "engineroom_tool_call"
_CALL = re.compile(
    r'^\s*\{\s*"name"\s*:\s*"(?P<name>[^"]*)"\s*(?:,\s*"arguments"\s*:\s*(?P<arguments>.*))?$', re.DOTALL
)


def is_forced(choice: Any) -> bool:
    """Whether a `tool_choice` leaves the model no way around a call."""
    if isinstance(choice, dict):
        return choice.get("type") not in ("auto", "none")
    return bool(choice == "required")


def prepare(json: dict[str, Any]) -> dict[str, Any]:
    """The request with a grammar for its tool choice.

    Raises:
        APIError: the tool named is not there, or cannot be described.
    """
    choice = json["tool_choice"]
    tools = json["tools"]
    if isinstance(choice, dict):
        if choice.get("type") != "function":
            raise APIError(
                "Only a tool of type 'function' can be chosen.", param="tool_choice", code="unsupported_parameter"
            )
        name = choice["function"]["name"]
        tools = [tool for tool in tools if tool.get("function", {}).get("name") == name]
        if not tools:
            raise APIError(f"There is no tool '{name}' in 'tools'.", param="tool_choice", code="invalid_value")
    tools = [tool for tool in tools if tool.get("type") == "function"]
    grammar = {"type": "json_schema", "json_schema": {"name": _NAME, "schema": schema(tools)}}
    # The client's `response_format` is about the text of an answer, and this one has none: OpenAI takes both.
    # "none" leaves the tools in the prompt and llama.cpp's own grammar for them out.
    return {**json, "tools": tools, "tool_choice": "none", "response_format": grammar}


def is_prepared(json: dict[str, Any]) -> bool:
    """Whether a request has been through `prepare`."""
    return bool(json.get("response_format", {}).get("json_schema", {}).get("name") == _NAME)


def finish(choice: dict[str, Any]) -> None:
    """Make a finished choice's text a tool call; what was cut off at `max_tokens` stays incomplete."""
    message = choice["message"]
    match = _CALL.match(message["content"] or "")
    arguments = (match and match["arguments"]) or ""
    if choice["finish_reason"] != "length":
        arguments = arguments.rstrip().removesuffix("}").rstrip()
        choice["finish_reason"] = "tool_calls"
    function = {"name": match["name"] if match else "", "arguments": arguments}
    message["tool_calls"] = [{"id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function}]
    message["content"] = None
