"""What one request may ask for, so that it does not keep an engine from everybody else.

Each limit is a setting of the worker, with a default that an engine's class may set otherwise (`Engine.defaults`); 0 is
no limit. A request beyond one is refused before the engine sees it. docs/limits.md has what each costs an engine.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from typing_extensions import Self

from ..errors import APIError
from .pattern_size import measure_pattern
from .routes import EMBEDDINGS
from .schema_size import count_ways, measure_schema
from .validation import invalid


class RequestLimits(NamedTuple):
    """The limits in force; each is the worker's setting of the same name, which says what it counts."""

    max_messages: int = 0
    max_prompt_characters: int = 0
    max_choices: int = 0
    max_top_logprobs: int = 0
    max_stop_strings: int = 0
    max_stop_length: int = 0
    max_list_entries: int = 0
    max_tools: int = 0
    max_schema_kb: int = 0
    max_schema_depth: int = 0
    max_schema_entries: int = 0
    max_schema_repetitions: int = 0
    max_schema_name_length: int = 0
    max_ways: int = 0
    max_pattern_length: int = 0
    max_grammar_kb: int = 0

    @classmethod
    def of(cls, settings: object) -> Self:
        """Those among the worker's settings."""
        return cls(*(getattr(settings, name) for name in cls._fields))

    def check(self, name: str, value: float, param: str, what: str) -> None:
        """Refuse more than a limit allows.

        Args:
            name: the limit's.
            value: how much the request has.
            param: the field that has it, as a dotted path.
            what: what is counted, for `at most 4 stop strings`.

        Raises:
            APIError: 400, naming the field, the value, the limit and its setting.
        """
        limit = getattr(self, name)
        if limit and value > limit:
            raise exceeded(name.upper(), limit, value, param, what)


_WRITTEN_OUT = 10**15

NO_LIMITS = RequestLimits()


def exceeded(setting: str, limit: float, value: float, param: str, what: str) -> APIError:
    """A 400 for a request beyond a limit."""
    if math.isinf(value):
        counted = "more with every level"
    elif value > _WRITTEN_OUT:
        counted = f"{value:g}"
    else:
        counted = str(int(value)) if value == int(value) else str(value)
    return invalid(
        f"Invalid '{param}': at most {limit} {what} are allowed here, but got {counted}. Whoever runs this server can "
        f"change that with {setting}.",
        param,
        "request_limit_exceeded",
    )


_SCHEMAS: Mapping[str, Sequence[Sequence[str]]] = {
    "functions": [("*", "parameters")],
    "guided_json": [()],
    "json_schema": [()],
    "output_config": [("format", "schema")],
    "output_format": [("schema",)],
    "response_format": [("json_schema", "schema"), ("schema",)],
    "structured_outputs": [("json",), ("structural_tag",)],
    "text": [("format", "schema")],
    "tools": [("*", "function", "parameters"), ("*", "parameters"), ("*", "input_schema")],
}
"""Fields of any route -> where the JSON schemas are in them; `*` stands for each item of a list."""

_PATTERNS: Mapping[str, Sequence[Sequence[str]]] = {
    "guided_regex": [()],
    "guided_whitespace_pattern": [()],
    "structured_outputs": [("regex",), ("whitespace_pattern",)],
}
"""The same for regular expressions."""

_GRAMMARS: Mapping[str, Sequence[Sequence[str]]] = {
    "grammar": [()],
    "guided_grammar": [()],
    "structured_outputs": [("grammar",)],
}
"""The same for grammars."""

_CHOICES: Mapping[str, Sequence[Sequence[str]]] = {"guided_choice": [()], "structured_outputs": [("choice",)]}
"""The same for lists of the answers that there may be."""

ORDINARY = frozenset(
    {
        "frequency_penalty",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "model",
        "presence_penalty",
        "prompt",
        "seed",
        "stream",
        "stream_options",
        "temperature",
        "top_p",
        "user",
    }
)
"""Fields of most requests; one that has no others needs no more than its prompt looked at."""

_READ = frozenset({"functions", "tools"})
"""Fields with schemas that a model gets to read."""
_LIMITED = frozenset({*_SCHEMAS, *_PATTERNS, *_GRAMMARS, *_CHOICES}) - _READ
"""Fields that have limits of their own, and are nothing that a model reads."""

_NAMES: Mapping[str, Sequence[Sequence[str]]] = {
    "functions": [("*", "name")],
    "tools": [("*", "function", "name"), ("*", "name"), ("*", "custom", "name")],
}
"""The same for names of tools, which a demanded call spells out."""

_LISTS = frozenset({"samplers"})
"""Fields with a list that may also be written as a text, a character for each entry."""

_MEDIA = frozenset({"b64_json", "bytes", "data", "file_data"})
"""Fields of what is no text: an image, a sound or a file."""
_ADDRESSES = frozenset({"audio_url", "file_url", "image", "image_url", "images", "url", "video_url"})
_DATA_URL = "data:"
"""Fields whose value is no text, either, where it begins so; elsewhere it is a text like any other."""

_LABELS = frozenset({"call_id", "id", "model", "role", "tool_call_id", "type"})
_LABEL_LENGTH = 64
"""Fields whose value tells what the rest is, where it is no longer than that."""

_STOPS = ("stop", "stop_sequences", "bad_words", "dry_sequence_breakers")
_LOGPROBS = ("logprobs", "top_logprobs", "n_probs", "prompt_logprobs")
_CONTENT = frozenset({"messages", "prompt", "input", "documents", "texts", "content", "tokens", "data"})
"""Fields with as much content as a prompt may have."""


def check_fields(path: str, json: Mapping[str, Any], limits: RequestLimits) -> None:
    """Check all but what a chat's messages, or a prompt, are.

    Raises:
        APIError: 400, for the first field that is beyond a limit.
    """
    for name in _STOPS:
        _check_stops(name, json.get(name), limits)
    for name in _LOGPROBS:
        asked = json.get(name)
        if isinstance(asked, (int, float)) and not isinstance(asked, bool):
            limits.check("max_top_logprobs", asked, name, "alternatives to each token")
    choices, name = count_choices(path, json)
    limits.check("max_choices", choices, name, "choices of all prompts together")
    for name in ("tools", "functions"):
        limits.check("max_tools", _length(json.get(name)), name, "tools")
    for param, name in _places(json, _NAMES):
        if isinstance(name, str):
            limits.check("max_schema_name_length", len(name), param, "characters of a tool's name")
    _check_schemas(json, limits, choices)
    for param, pattern in _places(json, _PATTERNS):
        if isinstance(pattern, str):
            _check_pattern(param, pattern, limits, choices)
    for param, grammar in _places(json, _GRAMMARS):
        limits.check("max_grammar_kb", _kb(_length(grammar)), param, "kB of a grammar")
    for param, answers in _places(json, _CHOICES):
        limits.check("max_ways", _length(answers) * choices, param, "answers to choose from, for all choices together,")
    for name, value in json.items():
        if isinstance(value, list) and name not in _CONTENT:
            limits.check("max_list_entries", len(value), name, "entries")
        elif isinstance(value, dict) and name not in _CONTENT and name not in _SCHEMAS:
            limits.check("max_list_entries", _entries(value, limits.max_list_entries), name, "entries")
        elif isinstance(value, str) and name in _LISTS:
            limits.check("max_list_entries", len(value), name, "entries")


def check_text(json: Mapping[str, Any], limits: RequestLimits) -> None:
    """Check the length of all that a model may get to read, wherever it stands.

    Beside messages and prompts that is what tools are called and do, the arguments of earlier calls, and whatever
    a chat template may write out. What has a limit of its own is left out, and so are images and the like.

    Raises:
        APIError: 400, for the field that is too much.
    """
    characters = 0
    for name, value in json.items():
        if name not in _LIMITED:
            characters += _text_length({name: value})
            limits.check("max_prompt_characters", characters, name, "characters of text in one request")


def _text_length(value: Mapping[str, Any]) -> int:
    characters = 0
    level: list[tuple[str, Any]] = [("", value)]
    while level:
        field, container = level.pop()
        named = isinstance(container, dict)
        for name, item in container.items() if named else ((field, item) for item in container):
            if isinstance(item, str):
                label = named and name in _LABELS and len(item) <= _LABEL_LENGTH
                media = (named and name in _MEDIA) or (name in _ADDRESSES and item.startswith(_DATA_URL))
                if not (label or media):
                    characters += len(item)
            elif isinstance(item, (dict, list)):
                level.append((name, item))
    return characters


def _entries(value: Mapping[str, Any], enough: int) -> int:
    """Entries of an object, those of lists and objects in it included; not counted much further than enough.

    A template may loop over all of them.
    """
    entries = 0
    level: list[Any] = [value]
    while level and not 0 < enough < entries:
        container = level.pop()
        if isinstance(container, (list, dict)):
            entries += len(container)
            level += container.values() if isinstance(container, dict) else container
    return entries


def _check_stops(name: str, stops: Any, limits: RequestLimits) -> None:
    for number, stop in enumerate(stops if isinstance(stops, list) else [stops]):
        limits.check("max_stop_strings", number + 1, name, "strings")
        if isinstance(stop, str):
            param = f"{name}.{number}" if isinstance(stops, list) else name
            limits.check("max_stop_length", len(stop), param, "characters of a stop string")


def count_choices(path: str, json: Mapping[str, Any]) -> tuple[int, str]:
    """The choices of all prompts of a request together, and the field that makes most of them."""
    if path == EMBEDDINGS:
        return 1, "input"
    prompts = json.get("prompt")
    several = len(prompts) if isinstance(prompts, list) and prompts and not isinstance(prompts[0], int) else 1
    counts = {name: json[name] for name in ("n", "best_of") if isinstance(json.get(name), (int, float))}
    name = max(counts, key=lambda each: counts[each], default="prompt")
    return max(counts.get(name, 1), 1) * several, name


def _check_schemas(json: Mapping[str, Any], limits: RequestLimits, choices: int) -> None:
    characters = entries = 0
    of_tools: dict[str, float] = {}
    # One that is too large is not looked at to its end; without a limit all are.
    enough = limits.max_schema_kb * 1_000 if limits.max_schema_kb else 10**12
    for param, schema in _places(json, _SCHEMAS):
        schema = _decoded(schema, param)
        if not isinstance(schema, dict):
            continue
        size = measure_schema(schema, enough)
        characters += size.characters
        entries += size.entries
        limits.check("max_schema_kb", _kb(characters), param, "kB of JSON schemas in one request")
        limits.check("max_schema_entries", entries, param, "properties and values of JSON schemas in one request")
        limits.check("max_schema_depth", size.depth, param, "levels of a JSON schema")
        limits.check("max_schema_name_length", size.name, param, "characters of a name in a JSON schema")
        limits.check("max_schema_repetitions", size.repetitions, param, "repetitions in a JSON schema")
        if limits.max_ways or limits.max_pattern_length:
            ways = _check_ways(param, schema, limits, choices)
            tool = _tool_name(json, param)
            if tool is not None:
                # An answer that has named a tool is on the ways of all tools of that name.
                of_tools[tool] = of_tools.get(tool, 0) + ways
                what = "ways to go on at one place, for all tools of the same name together,"
                limits.check("max_ways", of_tools[tool], param, what)


def _tool_name(json: Mapping[str, Any], param: str) -> str | None:
    """The name of the tool whose schema is at a dotted path; None for any other schema."""
    field, _, rest = param.partition(".")
    if field not in _READ:
        return None
    tool = json[field][int(rest.partition(".")[0])]
    function = tool.get("function")
    name = function.get("name") if isinstance(function, dict) else tool.get("name")
    return str(name)


def _check_ways(param: str, schema: dict[str, Any], limits: RequestLimits, choices: int) -> float:
    """Refuse too many ways; how many there are, for all choices."""
    try:
        ways, pattern, depth = count_ways(schema)
    except RecursionError:
        deepest = limits.max_schema_depth or sys.getrecursionlimit()
        raise exceeded("MAX_SCHEMA_DEPTH", deepest, math.inf, param, "levels of a JSON schema") from None
    limits.check("max_schema_depth", depth, param, "levels of a JSON schema, its definitions within each other,")
    limits.check("max_pattern_length", pattern, param, "characters of a 'pattern', with its repetitions,")
    # Each choice follows the schema by itself.
    limits.check("max_ways", ways * choices, param, f"ways to go on at one place of a JSON schema{_each(choices)}")
    return ways * choices


def _check_pattern(param: str, pattern: str, limits: RequestLimits, choices: int) -> None:
    what = "characters of a regular expression, with its repetitions,"
    limits.check("max_pattern_length", len(pattern), param, what)
    size = measure_pattern(pattern)
    limits.check("max_pattern_length", size.characters, param, what)
    limits.check("max_ways", size.ways * choices, param, f"ways to match a regular expression{_each(choices)}")


def _each(choices: int) -> str:
    return f", for {choices} choices together," if choices > 1 else ""


def _decoded(schema: Any, param: str) -> Any:
    """A schema that is sent as text, as some engines take it."""
    if not isinstance(schema, str):
        return schema
    try:
        return msgspec.json.decode(schema)
    except (msgspec.DecodeError, RecursionError) as error:
        raise invalid(f"Invalid '{param}': it is not JSON ({error}).", param, "invalid_value") from None


def _places(json: Mapping[str, Any], table: Mapping[str, Sequence[Sequence[str]]]) -> Iterator[tuple[str, Any]]:
    """The dotted path and the value of each place of a table that the request has."""
    for field in json.keys() & table.keys():
        for path in table[field]:
            yield from _at(json[field], path, field)


def _at(value: Any, path: Sequence[str], where: str) -> Iterator[tuple[str, Any]]:
    if not path:
        yield where, value
    elif path[0] == "*":
        for number, item in enumerate(value if isinstance(value, list) else ()):
            yield from _at(item, path[1:], f"{where}.{number}")
    elif isinstance(value, dict) and path[0] in value:
        yield from _at(value[path[0]], path[1:], f"{where}.{path[0]}")


def _length(value: Any) -> int:
    return len(value) if isinstance(value, (list, dict, str)) else 0


def _kb(characters: int) -> float:
    return characters / 1_000
