"""A JSON schema as a grammar in EBNF, for an engine whose library takes that, as xgrammar does.

White space is fixed to that of Python's own JSON: were any allowed, a small model would write nothing else. What cannot
be kept is refused, and nothing is left out in silence. Where a schema allows more than it names, such as further
properties beside those it lists, an answer keeps to what it names.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from ...errors import APIError

_ANNOTATIONS = frozenset(
    (
        "title",
        "description",
        "default",
        "example",
        "examples",
        "deprecated",
        "readOnly",
        "writeOnly",
        "discriminator",
        "$schema",
        "$id",
        "$comment",
        "$defs",
        "definitions",
        "strict",
    )
)
"""Keywords that leave open what an answer may be."""

_STRING = frozenset({"minLength", "maxLength", "format"})
_NUMBER = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
_ARRAY = frozenset({"items", "prefixItems", "minItems", "maxItems"})
_OBJECT = frozenset({"properties", "required", "additionalProperties"})
_OF_TYPE = {"string": _STRING, "integer": _NUMBER, "number": _NUMBER, "array": _ARRAY, "object": _OBJECT}
_TYPES = (*_OF_TYPE, "boolean", "null")
_WRITTEN_OUT = 1000
"""The largest range of integers that is written out, number by number."""

_DIGITS = "[0-9]"
_FORMATS = {
    "date": "DDDD-DD-DD",
    "time": "DD:DD:DDZ",
    "date-time": "DDDD-DD-DDTDD:DD:DDZ",
    "uuid": "HHHHHHHH-HHHH-HHHH-HHHH-HHHHHHHHHHHH",
}
"""Formats of strings, `D` a digit and `H` a hexadecimal one; all else is itself."""

_SHARED = {
    "char": r'[^"\\\x00-\x1f\x7f] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4})',
    "string": r'"\"" char* "\""',
    "natural": '"0" | [1-9] [0-9]{0,15}',
    "fraction": '("." [0-9]{1,16})? ([eE] [-+]? [0-9]{1,2})?',
    "any": 'object | "[" (any (", " any)*)? "]" | string | "-"? natural fraction | "true" | "false" | "null"',
    "object": '"{" (string ": " any (", " string ": " any)*)? "}"',
}


def schema_grammar(schema: Mapping[str, Any]) -> str:
    """The grammar of JSON texts that satisfy a schema, its first rule `root`; `{}` stands for any object.

    Raises:
        APIError: 400 `unsupported_schema`, with what cannot be kept.
    """
    writer = _GrammarWriter(schema)
    try:
        root = writer.value(schema) if schema else "object"
    except (AttributeError, TypeError, ValueError) as error:
        raise _refused("a keyword with a value of another kind than it takes") from error
    writer.check_recursion()
    rules = {"root": root, **writer.rules, **_SHARED}
    return "".join(f"{name} ::= {body}\n" for name, body in rules.items())


class _GrammarWriter:
    """rules: name -> body, of what is written so far."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.rules: dict[str, str] = {}
        self._root = root
        self._referred: dict[str, str] = {}
        self._chosen: dict[str, list[str]] = {}
        """Rules that are a choice of others, and which: what refers to itself by such alone never begins."""

    def value(self, schema: Any) -> str:
        """What a schema stands for, as one part of a rule's body."""
        if schema is True or schema == {}:
            return "any"
        if not isinstance(schema, Mapping):
            raise _refused(f"{json.dumps(schema)} allows nothing" if schema is False else "a schema must be an object")
        keywords = schema.keys() - _ANNOTATIONS
        for keyword, write in self._alone.items():
            if keyword in keywords:
                _none_of(keywords - {keyword, "type"}, f"beside `{keyword}`")
                return write(self, schema[keyword])
        stated = schema.get("type", [kind for kind in _OF_TYPE if keywords & _OF_TYPE[kind]])
        kinds = [stated] if isinstance(stated, str) else list(stated)
        known = {"type"}.union(*(_OF_TYPE.get(kind, ()) for kind in kinds))
        _none_of(keywords - known, f"of type {', '.join(kinds)}" if kinds else "alone")
        if not kinds:
            return "any"
        return self._any_of([self._of_type(kind, schema) for kind in kinds])

    def check_recursion(self) -> None:
        """Refuse what is defined by itself and nothing else."""

        open_rules: set[str] = set()
        finished: set[str] = set()

        def follow(name: str) -> None:
            if name in open_rules:
                raise _refused("a `$ref` that leads back to itself before anything is written")
            if name in finished:
                return
            open_rules.add(name)
            for other in self._chosen.get(name, ()):
                follow(other)
            open_rules.remove(name)
            finished.add(name)

        for name in self._chosen:
            follow(name)

    def _rule(self, body: str, chosen: Sequence[str] = ()) -> str:
        name = f"r{len(self.rules)}"
        self.rules[name] = body
        self._chosen[name] = list(chosen)
        return name

    def _any_of(self, parts: Sequence[str]) -> str:
        return parts[0] if len(parts) == 1 else self._rule(" | ".join(parts), parts)

    def _options(self, options: Any) -> str:
        if not isinstance(options, list) or not options:
            raise _refused("a list of alternatives is empty")
        return self._any_of([self.value(option) for option in options])

    def _all_of(self, schemas: Any) -> str:
        if not isinstance(schemas, list) or len(schemas) != 1:
            raise _refused("`allOf` with several schemas")
        return self.value(schemas[0])

    def _enum(self, values: Any) -> str:
        if not isinstance(values, list) or not values:
            raise _refused("`enum` must be a list of values")
        return self._rule(" | ".join(map(_json, values)))

    def _ref(self, reference: Any) -> str:
        if reference not in self._referred:
            name = self._referred[reference] = self._rule("")
            part = self.value(_resolved(self._root, str(reference)))
            self.rules[name] = part
            self._chosen[name] = [part]
        return self._referred[reference]

    _alone: Mapping[str, Callable[[_GrammarWriter, Any], str]] = {
        "$ref": _ref,
        "const": lambda _, value: _json(value),
        "enum": _enum,
        "anyOf": _options,
        "oneOf": _options,
        "allOf": _all_of,
    }
    """Keywords that say all of what a value is."""

    def _of_type(self, kind: str, schema: Mapping[str, Any]) -> str:
        if kind == "string":
            return self._string(schema)
        if kind == "integer":
            return self._integer(schema)
        if kind == "number":
            return self._rule(f"{self._sign(schema)} natural fraction")
        if kind == "array":
            return self._array(schema)
        if kind == "object":
            return self._object(schema)
        if kind == "boolean":
            return self._rule('"true" | "false"')
        if kind == "null":
            return '"null"'
        raise _refused(f"the type {kind!r}")

    def _string(self, schema: Mapping[str, Any]) -> str:
        form = schema.get("format")
        if form is None:
            bounds = _bounds(schema, "minLength", "maxLength")
            return "string" if bounds == "*" else self._rule(f'"\\"" char{bounds} "\\""')
        if form not in _FORMATS or schema.keys() & {"minLength", "maxLength"}:
            raise _refused(f"`format` {form!r}" if form not in _FORMATS else "a length beside a `format`")
        classes = {"D": _DIGITS, "H": "[0-9a-f]"}
        return self._rule(" ".join(classes.get(char, _literal(char)) for char in f'"{_FORMATS[form]}"'))

    def _integer(self, schema: Mapping[str, Any]) -> str:
        lows = [math.ceil(schema[each]) for each in ("minimum",) if each in schema]
        lows += [math.floor(schema[each]) + 1 for each in ("exclusiveMinimum",) if each in schema]
        highs = [math.floor(schema[each]) for each in ("maximum",) if each in schema]
        highs += [math.ceil(schema[each]) - 1 for each in ("exclusiveMaximum",) if each in schema]
        if lows and highs:
            numbers = range(max(lows), min(highs) + 1)
            if not 0 < len(numbers) <= _WRITTEN_OUT:
                raise _refused(f"a range of {len(numbers):,} integers; of 1 to {_WRITTEN_OUT:,} it can be enforced")
            return self._rule(" | ".join(map(_json, numbers)))
        if lows and max(lows) == 1:
            return self._rule("[1-9] [0-9]{0,15}")
        return self._rule(f"{self._sign(schema)} natural")

    def _sign(self, schema: Mapping[str, Any]) -> str:
        """What may stand before a number's digits. Of bounds only that it is not negative can be kept."""
        bounds = {keyword: schema[keyword] for keyword in _NUMBER & schema.keys()}
        if bounds not in ({}, {"minimum": 0}):
            raise _refused(f"{json.dumps(bounds)}, where of one bound only a `minimum` of 0 can be enforced")
        return "" if bounds else '"-"?'

    def _array(self, schema: Mapping[str, Any]) -> str:
        _bounds(schema, "minItems", "maxItems")
        low = schema.get("minItems") or 0
        first = [self.value(item) for item in schema.get("prefixItems") or ()]
        if "prefixItems" in schema or schema.get("items") is False:
            first = first[: schema.get("maxItems")]
            if low > len(first):
                raise _refused(f"`minItems` {low} and {len(first)} items")
            return self._rule(" ".join(['"["', ' ", " '.join(first), '"]"']))
        high = schema.get("maxItems")
        if high == 0:
            return '"[]"'
        item = self.value(schema.get("items", True))
        further = {"low": max(low - 1, 0)} | ({} if high is None else {"high": high - 1})
        body = item if high == 1 else f'{item} (", " {item}){_bounds(further, "low", "high")}'
        return self._rule(f'"[" {body} "]"' if low else f'"[" ({body})? "]"')

    def _object(self, schema: Mapping[str, Any]) -> str:
        properties = dict(schema.get("properties") or {})
        further = schema.get("additionalProperties", True)
        for name in schema.get("required") or ():
            if not isinstance(name, str):
                raise TypeError
            properties.setdefault(name, further)
        if not properties:
            if further is False:
                return '"{}"'
            pair = f'string ": " {self.value(further)}'
            return "object" if further in (True, {}) else self._rule(f'"{{" ({pair} (", " {pair})*)? "}}"')
        pairs = [(name, f'{_json(name)} ": " {self.value(inner)}') for name, inner in properties.items()]
        # From the last property to the first: what may stand from there on, as the first of all and behind another.
        first = behind = ""
        for name, pair in reversed(pairs):
            here = self._rule(f"{pair} {behind}")
            if name in (schema.get("required") or ()):
                first = here
                behind = f'", " {here}'
            else:
                first = self._rule(f"{here} | {first}" if first else f"{here}?")
                behind = self._rule(f'", " {here} | {behind}' if behind else f'(", " {here})?')
        return self._rule(f'"{{" {first} "}}"')


def _json(value: Any) -> str:
    return _literal(json.dumps(value, ensure_ascii=False))


def _literal(text: str) -> str:
    r"""A text in quotes. Behind a letter beyond ASCII new ones begin: xgrammar writes `ß` as `\xdf`, and reads it
    together with an `e` behind it."""
    pieces = re.findall(r"[\x00-\x7f]*[^\x00-\x7f]+|[\x00-\x7f]+", text)
    return " ".join('"' + piece.replace("\\", "\\\\").replace('"', '\\"') + '"' for piece in pieces)


def _bounds(schema: Mapping[str, Any], low: str, high: str) -> str:
    at_least = int(schema.get(low) or 0)
    at_most = schema.get(high)
    if at_most is None:
        return f"{{{at_least},}}" if at_least else "*"
    if at_most < at_least:
        raise _refused(f"`{high}` below `{low}`")
    return f"{{{at_least},{at_most}}}"


def _resolved(root: Mapping[str, Any], reference: str) -> Any:
    if not reference.startswith("#"):
        raise _refused(f"the `$ref` {reference!r}, which leads out of the schema")
    place: Any = root
    for part in _pointer(reference):
        try:
            place = place[int(part)] if isinstance(place, list) else place[part]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise _refused(f"the `$ref` {reference!r}, which leads nowhere") from error
    return place


def _pointer(reference: str) -> Iterator[str]:
    for part in unquote(reference.removeprefix("#")).split("/")[1:]:
        yield part.replace("~1", "/").replace("~0", "~")


def _none_of(keywords: frozenset[str] | set[str], where: str) -> None:
    if keywords:
        raise _refused(f"`{sorted(keywords)[0]}` {where}")


def _refused(what: str) -> APIError:
    return APIError(f"This JSON schema cannot be enforced: it has {what}.", code="unsupported_schema")
