"""Every field of a request, out of the official clients' own types, with a request that has it and one that has not.

A path names a kind of an alternative in brackets: `tools[function].function.strict`. Fields that a part cannot be
without are the part itself and have no row. A part that occurs in several places is looked at in each of them.
"""

from __future__ import annotations

import collections.abc
import copy
import types
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from typing_extensions import NotRequired, Required, is_typeddict

USER = {"role": "user", "content": "hello END tail"}
IMAGE = "data:image/png;base64,iVBORw0KGgo="
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
FUNCTION = {"name": "add", "parameters": SCHEMA}
CHAT_TOOL = {"type": "function", "function": FUNCTION}
FLAT_TOOL = {"type": "function", **FUNCTION, "strict": None}
CALL = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
FLAT_CALL = {"type": "function_call", "call_id": "call_1", "name": "add", "arguments": '{"a":1}'}
FLAT_OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "done"}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
TOOL_USE = {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 1}}
TOOL_RESULT = {"type": "tool_result", "tool_use_id": "toolu_1"}

BASES: Mapping[str, dict[str, Any]] = {
    "chat": {"messages": [USER]},
    "completions": {"prompt": "hello END tail"},
    "embeddings": {"input": "hello"},
    "responses": {"input": [USER]},
    "messages": {"messages": [USER], "max_tokens": 2000},
}

VALUES: Mapping[str, Any] = {
    "arguments": '{"a":1}',
    "audio": {"format": "wav", "voice": "alloy"},
    "best_of": 2,
    "budget_tokens": 1024,
    "call_id": "call_1",
    "data": "UklGRg==",
    "description": "a note",
    "dimensions": 8,
    "encoding_format": "base64",
    "image_url": IMAGE,
    "include": ["message.output_text.logprobs"],
    "input_schema": SCHEMA,
    "instructions": "be brief",
    "logit_bias": {"5": 1},
    "max_completion_tokens": 3,
    "max_output_tokens": 3,
    "max_tokens": 3,
    "metadata": {"a": "b"},
    "modalities": ["text", "audio"],
    "model": "model",
    "n": 2,
    "name": "add",
    "output": "done",
    "parallel_tool_calls": False,
    "parameters": SCHEMA,
    "prompt": "another END tail",
    "schema": SCHEMA,
    "seed": 7,
    "service_tier": "auto",
    "stop": ["END"],
    "stop_sequences": ["END"],
    "system": "be brief",
    "temperature": 0.25,
    "top_k": 5,
    "top_logprobs": 2,
    "top_p": 0.5,
    "url": IMAGE,
    "verbosity": "low",
}
"""Values that a field's type alone does not tell, by the field's name."""

AT: Mapping[tuple[str, str], Any] = {
    ("chat", "logprobs"): True,
    ("completions", "logprobs"): 2,
    ("chat", "function_call"): {"name": "add"},
    ("chat", "functions"): [FUNCTION],
    ("chat", "stream_options"): {"include_usage": True},
    ("completions", "stream_options"): {"include_usage": True},
    ("chat", "response_format"): {"type": "json_object"},
    ("chat", "tools[function]"): CHAT_TOOL,
    ("chat", "messages[tool]"): {"role": "tool", "tool_call_id": "call_1", "content": "done"},
    ("chat", "messages[assistant].tool_calls[function]"): CALL,
    ("chat", "messages[user].content[file].file.file_data"): "data:application/pdf;base64,JVBERg==",
    ("chat", "tool_choice"): "required",
    ("chat", "tool_choice[allowed_tools].allowed_tools"): {"mode": "required", "tools": [CHAT_TOOL]},
    ("chat", "messages[user].content[image_url].image_url"): {"url": IMAGE},
    ("responses", "tools[function]"): FLAT_TOOL,
    ("responses", "tool_choice"): "required",
    ("responses", "tool_choice[allowed_tools]"): {
        "type": "allowed_tools",
        "mode": "required",
        "tools": [{"type": "function", "name": "add"}],
    },
    ("responses", "input[message].content[input_image]"): {"type": "input_image", "image_url": IMAGE},
    ("responses", "input[function_call]"): FLAT_CALL,
    ("responses", "input[function_call_output]"): FLAT_OUTPUT,
    ("responses", "input[function_call].id"): "fc_1",
    ("responses", "input[function_call_output].id"): "fc_2",
    ("responses", "input[reasoning]"): {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "so"}],
    },
    ("responses", "text.format"): {"type": "json_object"},
    ("responses", "input[function_call_output].output[input_image]"): {"type": "input_image", "image_url": IMAGE},
    ("responses", "background"): True,
    ("responses", "truncation"): "auto",
    ("responses", "reasoning"): {"effort": "low"},
    ("responses", "input[reasoning].encrypted_content"): "engineroom.dGhvdWdodA==",
    ("messages", "context_management"): {"edits": [{"type": "clear_thinking_20251015"}]},
    ("messages", "max_tokens"): 3,
    ("messages", "tool_choice"): {"type": "any"},
    ("messages", "messages[user].content[image].source"): {"type": "url", "url": "https://example.com/a.png"},
    ("messages", "metadata"): {"user_id": "a"},
    ("messages", "speed"): "fast",
    ("messages", "tools[custom]"): {"name": "add", "input_schema": SCHEMA},
    ("messages", "messages[user].content[tool_result]"): TOOL_RESULT,
    ("messages", "messages[assistant].content[tool_use]"): TOOL_USE,
}
"""Values of one place."""

NEEDED: Mapping[tuple[str, str], dict[str, Any]] = {
    ("chat", "stream_options"): {"stream": True},
    ("completions", "stream_options"): {"stream": True},
    ("responses", "stream_options"): {"stream": True},
    ("chat", "tool_choice"): {"tools": [CHAT_TOOL]},
    ("chat", "parallel_tool_calls"): {"tools": [CHAT_TOOL]},
    ("chat", "top_logprobs"): {"logprobs": True},
    ("chat", "function_call"): {"functions": [FUNCTION]},
    ("chat", "messages[tool]"): {"messages": [CALLING, USER]},
    ("responses", "input[function_call_output]"): {"input": [FLAT_CALL, USER]},
    ("responses", "input[function_call]"): {"input": [FLAT_OUTPUT]},
    ("responses", "input[reasoning]"): {"input": [USER, {"role": "assistant", "content": "so it is"}]},
    ("responses", "tool_choice"): {"tools": [FLAT_TOOL]},
    ("responses", "parallel_tool_calls"): {"tools": [FLAT_TOOL]},
    ("messages", "tool_choice"): {"tools": [{"name": "add", "input_schema": SCHEMA}]},
    ("messages", "messages[user].content[tool_result]"): {
        "messages": [{"role": "assistant", "content": [TOOL_USE]}, USER]
    },
    ("messages", "messages[assistant].content[tool_use]"): {"messages": [{"role": "user", "content": [TOOL_RESULT]}]},
}
"""What a request with a field must have beside it, by the beginning of the field's path."""


class SpecField(NamedTuple):
    """One field.

    path: e.g. `stream_options.include_usage`.
    request: a request that has it.
    without: the same request without it.
    """

    surface: str
    path: str
    request: dict[str, Any]
    without: dict[str, Any]

    @property
    def names(self) -> list[str]:
        """The names along its path, kinds left out."""
        return [part.partition("[")[0] for part in self.path.split(".")]

    def value(self, request: Mapping[str, Any]) -> Any:
        """What a request has in its place; None where there is nothing."""
        return request.get(self.path) if len(self.names) == 1 and "[" not in self.path else None


@cache
def spec_fields(surface: str) -> Sequence[SpecField]:
    """The fields of one surface, as the installed `openai` and `anthropic` know them."""
    fields: dict[str, SpecField] = {}
    for params in _params(surface):
        for name, hint in _hints(params).items():
            # `model` chooses who answers; it is no field of the answer's.
            for field in _top(surface, name, hint) if name != "model" else ():
                fields.setdefault(field.path, field)
    return tuple(fields.values())


def _params(surface: str) -> tuple[Any, ...]:
    from anthropic.types import message_create_params
    from anthropic.types.beta import message_create_params as beta_params
    from openai.types import completion_create_params, embedding_create_params
    from openai.types.chat import completion_create_params as chat_params
    from openai.types.responses import response_create_params

    return {
        "chat": (chat_params.CompletionCreateParamsStreaming,),
        "completions": (completion_create_params.CompletionCreateParamsStreaming,),
        "embeddings": (embedding_create_params.EmbeddingCreateParams,),
        "responses": (response_create_params.ResponseCreateParamsStreaming,),
        "messages": (message_create_params.MessageCreateParamsStreaming, beta_params.MessageCreateParamsStreaming),
    }[surface]


def _top(surface: str, name: str, hint: Any) -> Iterator[SpecField]:
    base = copy.deepcopy(BASES[surface])
    for place, needed in NEEDED.items():
        if place == (surface, name):
            base |= copy.deepcopy(needed)
    if name not in base or not isinstance(base[name], list):
        value = _value(surface, name, hint)
        without = {key: kept for key, kept in base.items() if key != name or name in BASES[surface]}
        yield SpecField(surface, name, {**base, name: value}, without)
    for path, value, bare in _inside(surface, name, hint, frozenset()):
        if isinstance(base.get(name), list):
            needed = next((more for (s, at), more in NEEDED.items() if s == surface and path.startswith(at)), {})
            start = {**base, **copy.deepcopy(needed)}
            # The conversation ends with the user's message, as it must.
            before = [] if bare is None else bare
            yield SpecField(
                surface,
                path,
                {**start, name: [*start[name][:-1], *value, start[name][-1]]},
                {**start, name: [*start[name][:-1], *before, start[name][-1]]},
            )
        else:
            without = {key: kept for key, kept in base.items() if key != name}
            yield SpecField(surface, path, {**base, name: value}, without if bare is None else {**base, name: bare})


def _inside(surface: str, path: str, hint: Any, around: frozenset[Any]) -> Iterator[tuple[str, Any, Any]]:
    """Each path inside a field, the field's value with it, and without it (None: the field itself is left out).

    Args:
        around: the types that it stands in; a type inside of itself is not looked into again.
    """
    for each, is_list in _alternatives(hint):
        if not is_typeddict(each) or each in around:
            continue
        tag = _tag(each)
        inner = path if tag is None else f"{path}[{tag[1]}]"
        minimal = _minimal(surface, inner, each)

        def wrapped(value: Any, is_list: bool = is_list) -> Any:
            return [value] if is_list else value

        if tag is not None:
            yield inner, wrapped(minimal), None
        for name, kind in _hints(each).items():
            if tag is not None and name == tag[0]:
                continue
            at = f"{inner}.{name}"
            if name not in _required(each):
                with_it = {**minimal, name: _value(surface, at, kind)}
                bare = {key: value for key, value in minimal.items() if key != name}
                yield at, wrapped(with_it), wrapped(bare)
            for deeper, value, bare in _inside(surface, at, kind, around | {each}):
                outer = {**minimal, name: value}
                rest = {key: kept for key, kept in minimal.items() if key != name}
                if bare is not None:
                    rest[name] = bare
                elif name in _required(each):
                    rest = None  # type: ignore[assignment]
                yield deeper, wrapped(outer), None if rest is None else wrapped(rest)


def _alternatives(hint: Any, is_list: bool = False) -> Iterator[tuple[Any, bool]]:
    """The types that a value may have, those in a list among them."""
    origin = get_origin(hint)
    arguments = get_args(hint)
    if origin in (Required, NotRequired, Annotated):
        yield from _alternatives(arguments[0], is_list)
    elif origin in (Union, types.UnionType):
        for each in arguments:
            yield from _alternatives(each, is_list)
    elif origin is not None and isinstance(origin, type) and not issubclass(origin, collections.abc.Mapping):
        for each in arguments:
            yield from _alternatives(each, True)
    else:
        yield hint, is_list


@cache
def _hints(typed_dict: Any) -> Mapping[str, Any]:
    return get_type_hints(typed_dict, include_extras=True)


def _required(typed_dict: Any) -> set[str]:
    """The fields that it cannot be without. Those of the clients say so in annotations that are strings."""
    return {name for name, hint in _hints(typed_dict).items() if get_origin(hint) is Required}


def _tag(typed_dict: Any) -> tuple[str, str] | None:
    """The field that tells a kind from its siblings, and its value."""
    hints = _hints(typed_dict)
    for name in ("type", "role"):
        for each, _ in _alternatives(hints[name]) if name in hints else ():
            if get_origin(each) is Literal:
                return name, str(get_args(each)[0])
    return None


def _minimal(surface: str, path: str, typed_dict: Any) -> dict[str, Any]:
    """The least that is one of these."""
    if (surface, path) in AT:
        return dict(AT[surface, path])
    tag = _tag(typed_dict)
    hints = _hints(typed_dict)
    made = {} if tag is None else {tag[0]: tag[1]}
    names = [name for name in hints if name in _required(typed_dict) and name not in made]
    # A message that says nothing is none.
    names += ["content"] if "content" in hints and "content" not in names else []
    if not made and not names:
        names = list(hints)[:1]
    return made | {name: _value(surface, f"{path}.{name}", hints[name]) for name in names}


def _value(surface: str, path: str, hint: Any) -> Any:
    """A value that is not the field's default."""
    name = path.rpartition(".")[2]
    if (surface, path) in AT:
        return copy.deepcopy(AT[surface, path])
    kinds = list(_alternatives(hint))
    plain = [(each, is_list) for each, is_list in kinds if not is_typeddict(each) and each is not type(None)]
    if name in VALUES and (plain or all(not is_typeddict(each) for each, _ in kinds)):
        return copy.deepcopy(VALUES[name])
    for each, is_list in plain or kinds:
        if is_typeddict(each):
            tag = _tag(each)
            made: Any = _minimal(surface, path if tag is None else f"{path}[{tag[1]}]", each)
        else:
            made = _plain(each)
        return [made] if is_list else made
    raise TypeError(f"{surface} {path}: what may it be?")


def _plain(kind: Any) -> Any:
    if get_origin(kind) is Literal:
        return get_args(kind)[0]
    origin = get_origin(kind) or kind
    for known, value in ((bool, True), (int, 2), (float, 0.5), (str, "x")):
        if origin is known:
            return value
    return {} if isinstance(origin, type) and issubclass(origin, collections.abc.Mapping) else "x"
