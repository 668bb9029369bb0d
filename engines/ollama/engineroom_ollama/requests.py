"""Requests on their way to Ollama: OpenAI's fields in the words of Ollama's own API, or refused.

Its OpenAI-compatible routes pass over many fields, cut a prompt that is too long without a word, put a completion's
prompt into the chat template, and lose an error amid a stream. Its own routes (docs/api.md of Ollama) do none of that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any

import msgspec

from engineroom.openai.routes import CHAT_COMPLETIONS, COMPLETIONS, EMBEDDINGS
from engineroom.openai.stop_strings import RETURN_STOP_REASON
from engineroom.openai.strict import GENERATION_FIELDS, checked, only_honoured, shown_messages
from engineroom.openai.validation import check, invalid

PATHS = {CHAT_COMPLETIONS: "/api/chat", COMPLETIONS: "/api/generate", EMBEDDINGS: "/api/embed"}
"""OpenAI's routes -> Ollama's own."""

_OWN_OPTIONS = frozenset({"min_p", "repeat_last_n", "repeat_penalty", "top_k", "typical_p"})
SAMPLING_PARAMS = _OWN_OPTIONS | {"chat_template_kwargs", "repetition_penalty"}
_OPTIONS = _OWN_OPTIONS | {"frequency_penalty", "presence_penalty", "seed", "stop", "temperature", "top_p"}
_RENAMED = {"max_tokens": "num_predict", "max_completion_tokens": "num_predict", "repetition_penalty": "repeat_penalty"}

_GENERATES = GENERATION_FIELDS | _OWN_OPTIONS | {"repetition_penalty"}
_CHAT = {"chat_template_kwargs", "max_completion_tokens", "messages", "reasoning_effort", "response_format"}
HONOURED = {
    CHAT_COMPLETIONS: _GENERATES | _CHAT | {"tool_choice", "tools", "top_logprobs"},
    COMPLETIONS: _GENERATES | {"prompt", "suffix"},
    EMBEDDINGS: frozenset({"dimensions", "encoding_format", "input", "model"}),
}
_CALL = ("id", "type", "function", "index")
_FUNCTION = ("name", "description", "parameters", "strict")
_MEMBERS = frozenset({"content", "reasoning_content", "role", "tool_call_id", "tool_calls"})
_INSTEAD = {
    "best_of": "it goes by 'n'",
    "format": "use 'response_format'",
    "functions": "use 'tools'",
    "keep_alive": "whoever runs this server sets OLLAMA_KEEP_ALIVE",
    "options": "its fields are fields of the request here ('num_predict' is 'max_tokens')",
    "think": "use 'reasoning_effort'",
}
_THINK: Mapping[str, bool | str] = {"none": False, "minimal": "low", "xhigh": "max"}
STOPS_HERE = "stops here"
"""Marks a prepared request whose stop strings Ollama does not get: it would not say which of them ended the text."""

_SEEDS = 2**32 - 1
"""As many as llama.cpp has; the one that it takes for none is left out."""


class _OllamaOptions(msgspec.Struct):
    """What values Ollama's own fields may have; it answers others with a 500, or not at all."""

    min_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    repeat_last_n: Annotated[int, msgspec.Meta(ge=-1, le=1_000_000)] | None = None
    repeat_penalty: Annotated[float, msgspec.Meta(gt=0)] | None = None
    repetition_penalty: Annotated[float, msgspec.Meta(gt=0)] | None = None
    top_k: Annotated[int, msgspec.Meta(ge=-1)] | None = None
    typical_p: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None


def prepare(path: str, json: Mapping[str, Any]) -> dict[str, Any]:
    """The request without what has no effect, in OpenAI's words still. Raises APIError (400), naming the field."""
    usual = {"best_of": json.get("n") or 1}
    json = {name: value for name, value in checked(path, json).items() if usual.get(name) != value}
    json = only_honoured(path, json, HONOURED, "Ollama", _INSTEAD)
    check(json, _OllamaOptions)
    for field in ("prompt", "input"):
        texts = json.get(field, "x")
        for text in texts if isinstance(texts, list) else [texts]:
            if not isinstance(text, str) or not text:
                message = f"Invalid '{field}': Ollama takes text only, and some of it; no token ids."
                raise invalid(message, field, "unsupported_value")
    if json.get("max_tokens") == 0:
        # It would take that for none, and generate without end.
        raise invalid("Invalid 'max_tokens': Ollama generates one token at least.", "max_tokens", "invalid_value")
    if path == CHAT_COMPLETIONS:
        json = {**json, "messages": shown_messages(json["messages"], _MEMBERS, "Ollama")}
        native(path, json)  # What it cannot put into Ollama's words it refuses.
    if json.get(RETURN_STOP_REASON) and json.get("stop"):
        json = {**json, STOPS_HERE: True}
    # It would generate without end; OpenAI's completions end after 16 tokens.
    return {"max_tokens": 16, **json} if path == COMPLETIONS else json


def native(path: str, json: Mapping[str, Any]) -> dict[str, Any]:
    """A prepared request, for one choice, in Ollama's words; nothing is cut that does not fit into the context."""
    if path == EMBEDDINGS:
        return {"input": json["input"], "truncate": False, "dimensions": json.get("dimensions", 0)}
    options = {_RENAMED.get(name, name): value for name, value in json.items() if name in _OPTIONS or name in _RENAMED}
    if STOPS_HERE in json or not options.get("stop"):
        # With an empty list the model's own would not count.
        options.pop("stop", None)
    if "seed" in options:
        options["seed"] %= _SEEDS
    if "repetition_penalty" in json:
        # Other engines' is over the whole context.
        options.setdefault("repeat_last_n", -1)
    if options.get("top_k") == -1:
        options["top_k"] = 0
    request = {"options": options, "stream": True, "truncate": False, "shift": False}
    if path == COMPLETIONS:
        suffix = {"suffix": json["suffix"]} if json.get("suffix") else {"raw": True}
        logprobs = {} if json.get("logprobs") is None else {"logprobs": True, "top_logprobs": json["logprobs"]}
        return {"prompt": json["prompt"], "think": False, **suffix, **logprobs, **request}
    names: dict[str, str] = {}
    request["messages"] = [_message(f"messages.{at}", each, names) for at, each in enumerate(json["messages"])]
    request["think"] = _think(json)
    request["format"] = _format(json.get("response_format") or {})
    if json.get("tools") and json.get("tool_choice") != "none":
        request["tools"] = json["tools"]
        for at, tool in enumerate(json["tools"]):
            _check_members(f"tools.{at}", tool, _CALL)
            _check_members(f"tools.{at}.function", tool["function"], _FUNCTION)
    if json.get("logprobs"):
        request |= {"logprobs": True, "top_logprobs": json.get("top_logprobs", 0)}
    return {name: value for name, value in request.items() if value is not None}


def _message(where: str, message: Mapping[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """One message; its texts are joined, since templates have a place for one, and images and sounds stand beside.

    Args:
        names: the functions' names by the ids of the calls so far; this message's are added.
    """
    content = message.get("content") or ""
    texts: list[str] = []
    media: list[str] = []
    for at, part in enumerate(content if isinstance(content, list) else [{"type": "text", "text": content}]):
        if part["type"] == "text":
            texts.append(part["text"])
        else:
            media.append(_media(part, f"{where}.content.{at}"))
    role = "system" if message["role"] == "developer" else message["role"]
    result: dict[str, Any] = {"role": role, "content": "\n".join(texts)}
    if media:
        result["images"] = media
    if message.get("reasoning_content"):
        result["thinking"] = message["reasoning_content"]
    if "tool_call_id" in message:
        result |= {"tool_call_id": message["tool_call_id"], "tool_name": names.get(message["tool_call_id"], "")}
    for at, call in enumerate(message.get("tool_calls", ())):
        place = f"{where}.tool_calls.{at}"
        if "function" not in call:
            raise invalid("Ollama knows calls of functions only.", f"{place}.type", "unsupported_value")
        _check_members(place, call, _CALL)
        function = call["function"]
        _check_members(f"{place}.function", function, ("name", "arguments"))
        names[call["id"]] = function["name"]
        arguments = msgspec.json.decode(function.get("arguments") or "{}")
        known = {"id": call["id"], "function": {"name": function["name"], "arguments": arguments}}
        result.setdefault("tool_calls", []).append(known)
    return result


def _check_members(where: str, value: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse what Ollama would pass over of a call or a tool."""
    for name in value:
        if name not in known:
            message = f"Ollama does not support '{where}.{name}'; the model would not be shown it."
            raise invalid(message, f"{where}.{name}", "unsupported_parameter")


def _media(part: Mapping[str, Any], where: str) -> str:
    """An image or a sound, in base64."""
    if part["type"] == "input_audio":
        return str(part["input_audio"]["data"])
    if part["type"] != "image_url":
        raise invalid(f"Ollama takes no content of type '{part['type']}'.", where, "unsupported_content_type")
    head, comma, data = str(part["image_url"]["url"]).partition(";base64,")
    if not comma or not head.startswith("data:"):
        raise invalid(f"Invalid '{where}': Ollama fetches no images; send a `data:` URL.", where, "invalid_value")
    return data


def _think(json: Mapping[str, Any]) -> bool | str | None:
    """Whether the model thinks, or how much; None where it decides."""
    wanted = json.get("chat_template_kwargs", {})
    if unknown := wanted.keys() - {"enable_thinking"}:
        where = f"chat_template_kwargs.{min(unknown)}"
        raise invalid(f"Ollama does not support '{where}'.", where, "unsupported_parameter")
    if "reasoning_effort" in json:
        return _THINK.get(json["reasoning_effort"], str(json["reasoning_effort"]))
    thinks: bool | None = wanted.get("enable_thinking")
    return thinks


def _format(wanted: Mapping[str, Any]) -> Any:
    """A schema, `json` for any object, None for text."""
    if wanted.get("type") == "json_schema":
        return wanted["json_schema"].get("schema") or "json"
    return (wanted.get("schema") or "json") if wanted.get("type") == "json_object" else None
