"""The smallest instance of a JSON schema, for an engine that has no model to ask."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from engineroom.errors import APIError

from .mentions import Mentions

_MAX_DEPTH = 64
_MAX_VALUES = 10_000
_MAX_LENGTH = 100_000
_MAX_TRIES = 20
"""As many texts of a message are held against one pattern."""
_PATTERN_MEMORY = 8 << 20
_SHOWN = 100
"""Characters of a pattern, or of what is wrong with it, in an error."""
_FORMATS = {
    "date-time": "1970-01-01T00:00:00Z",
    "date": "1970-01-01",
    "time": "00:00:00Z",
    "duration": "P1D",
    "email": "a@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_UNDERSTOOD = frozenset(
    {
        "type",
        "const",
        "enum",
        "anyOf",
        "oneOf",
        "allOf",
        "$ref",
        "$defs",
        "definitions",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "prefixItems",
        "minItems",
        "maxItems",
        "minLength",
        "maxLength",
        "format",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "pattern",
        "multipleOf",
        "maxProperties",
        "title",
        "description",
        "default",
        "examples",
        "deprecated",
        "readOnly",
        "writeOnly",
        "nullable",
        "strict",
        "$schema",
        "$id",
        "$comment",
    }
)


def minimal_instance(schema: Mapping[str, Any], mentions: Mentions | None = None) -> Any:
    """An instance of `schema` with only what it requires.

    mentions: its numbers and texts stand in the instance where they fit; without it the smallest values do.

    Raises:
        APIError: 400, for a schema that is malformed, or needs more than this understands (`not`, a `pattern` that
            neither the default nor the shortest string satisfies, endless recursion).
    """
    try:
        return _Maker(schema, mentions or Mentions("")).make(schema, 0)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise _cannot("it is malformed") from error


class SchemaTooLargeError(APIError):
    """A schema that other branches of it will not make any smaller."""


class _Maker:
    def __init__(self, root: Mapping[str, Any], mentions: Mentions) -> None:
        self._root = root
        self._mentions = mentions
        self._values = 0

    def make(self, schema: Any, depth: int) -> Any:
        self._count()
        if schema is True:
            return {}
        if not isinstance(schema, Mapping):
            raise _cannot(f"{schema!r} has no instance")
        if unknown := schema.keys() - _UNDERSTOOD:
            raise _cannot(f"cannot make an instance that satisfies '{sorted(unknown)[0]}'")
        schema = self._merged(schema, depth)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            named = [value for value in schema["enum"] if isinstance(value, str) and value in self._mentions.text]
            return named[0] if named else schema["enum"][0]
        for branch in ("anyOf", "oneOf"):
            if schema.get(branch):
                return self._first_possible(schema, branch, depth)
        kinds = schema.get("type") or _implied_type(schema)
        kind = kinds[0] if isinstance(kinds, list) else kinds
        return self._of_type(kind, schema, depth)

    def _count(self) -> None:
        """Count a schema that is looked at: references can make a short one endless, and branches multiply."""
        self._values += 1
        if self._values > _MAX_VALUES:
            raise SchemaTooLargeError(
                "The echo engine cannot satisfy this JSON schema: its smallest instance is too large.",
                code="unsupported_schema",
            )

    def _merged(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        """The schema with `$ref` and `allOf` put in its place."""
        self._count()
        if depth > _MAX_DEPTH:
            raise _cannot("a schema that requires itself has no smallest instance")
        parts = [self._resolve(schema["$ref"])] if "$ref" in schema else []
        merged = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
        for part in [*parts, *(schema.get("allOf") or ())]:
            part = self._merged(part, depth + 1)
            properties = {**part.get("properties", {}), **merged.get("properties", {})}
            required = [*part.get("required", ()), *merged.get("required", ())]
            merged = {**part, **merged, "properties": properties, "required": required}
        return merged

    def _resolve(self, ref: str) -> Any:
        target: Any = self._root
        if not ref.startswith("#"):
            raise _cannot(f"cannot follow '{ref}'")
        for key in filter(None, ref[1:].split("/")):
            key = key.replace("~1", "/").replace("~0", "~")
            if not isinstance(target, Mapping) or key not in target:
                raise _cannot(f"'{ref}' leads nowhere")
            target = target[key]
        return target

    def _first_possible(self, schema: dict[str, Any], branch: str, depth: int) -> Any:
        rest = {key: value for key, value in schema.items() if key != branch}
        failure = None
        for option in schema[branch]:
            try:
                return self.make({**rest, "allOf": [option]}, depth + 1)
            except SchemaTooLargeError:
                raise
            except APIError as error:
                failure = failure or error
        raise failure or _cannot(f"'{branch}' is empty")

    def _of_type(self, kind: str, schema: Mapping[str, Any], depth: int) -> Any:
        if kind == "object":
            properties = schema.get("properties") or {}
            names = dict.fromkeys(schema.get("required") or ())
            return {name: self.make(properties.get(name, True), depth + 1) for name in names}
        if kind == "array":
            first = schema.get("prefixItems") or []
            size = _bounded(schema.get("minItems", 0))
            items = [*first[:size], *[schema.get("items", True)] * (size - len(first))]
            return [self.make(item, depth + 1) for item in items]
        if kind == "string":
            return _string(schema, self._mentions)
        if kind in ("integer", "number"):
            return _number(schema, kind == "integer", self._mentions)
        if kind in ("boolean", "null"):
            return False if kind == "boolean" else None
        raise _cannot(f"there is no type '{kind}'")


def _implied_type(schema: Mapping[str, Any]) -> str:
    for kind, keywords in {
        "object": ("properties", "required", "additionalProperties"),
        "array": ("items", "prefixItems", "minItems"),
        "string": ("minLength", "maxLength", "format"),
        "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    }.items():
        if any(keyword in schema for keyword in keywords):
            return kind
    return "object"


def _number(schema: Mapping[str, Any], whole: bool, mentions: Mentions) -> float:
    low = schema.get("minimum", -math.inf)
    over = schema.get("exclusiveMinimum", -math.inf)
    high = schema.get("maximum", math.inf)
    under = schema.get("exclusiveMaximum", math.inf)
    step = schema.get("multipleOf") or (1 if whole else 0)
    candidates = [0.0]
    for bound in (low, over, high, under):
        if math.isfinite(bound):
            candidates.append(bound)
            near = step or 1
            candidates += [(bound // near + steps) * near for steps in (-1, 0, 1, 2)]
    candidates.append((max(low, over) + min(high, under)) / 2)

    def fits(value: float) -> bool:
        within = low <= value <= high and over < value < under
        return within and (not step or value % step == 0) and (not whole or value == int(value))

    mentioned = mentions.take_number(fits)
    for value in candidates if mentioned is None else [mentioned]:
        if fits(value):
            return int(value) if value == int(value) else value
    raise _cannot("there is no number within its bounds")


def _bounded(size: int) -> int:
    if size > _MAX_LENGTH:
        raise _cannot("its smallest instance is too large")
    return size


def _string(schema: Mapping[str, Any], mentions: Mentions) -> str:
    filler = "x" * _bounded(schema.get("minLength", 0))
    longest = schema.get("maxLength", math.inf)
    matches = _matcher(schema.get("pattern"))

    def fits(text: Any) -> bool:
        return isinstance(text, str) and len(filler) <= len(text) <= longest and matches(text)

    mentioned = None if "format" in schema else mentions.take_text(fits)
    candidates = [schema.get("default"), *schema.get("examples", ()), _FORMATS.get(schema.get("format", ""), filler)]
    for text in candidates if mentioned is None else [mentioned]:
        if fits(text):
            return str(text)
    raise _cannot("no string was found for its pattern, format and length; give a 'default' that fits")


def _matcher(pattern: str | None) -> Callable[[str], bool]:
    """Whether a text has a match of the pattern; after some texts it says no.

    It is RE2's, whose time grows with the text alone. With Python's own a pattern of ten characters holds everybody up
    for as long as it likes.

    Raises:
        APIError: 400, for a pattern that is malformed, or has what RE2 has not: lookaround and references to groups.
    """
    if pattern is None:
        return lambda text: True
    import re2

    options = re2.Options()
    options.max_mem = _PATTERN_MEMORY
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace")
        raise _cannot(f"the pattern '{pattern[:_SHOWN]}' is none of RE2's ({reason[:_SHOWN]})") from None
    tries = iter(range(_MAX_TRIES))
    return lambda text: next(tries, None) is not None and compiled.search(text) is not None


def _cannot(why: str) -> APIError:
    return APIError(f"The echo engine cannot satisfy this JSON schema: {why}.", code="unsupported_schema")
