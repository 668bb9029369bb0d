"""How large a JSON schema is, and how many ways an answer can go on that follows it: pure functions over the schema.

What makes a schema slow is not its length but its ways: an engine that matches an answer against a grammar keeps every
way that the answer may still take, and tries each of them with every token of the vocabulary. An `enum` of a thousand
values that begin alike is a thousand ways at one place; a thousand properties that are required are one way each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from .pattern_size import measure_pattern

_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
"""Keywords whose object has names of the schema's own, each with a schema."""

_COUNTED = _NAMED | {"required", "enum"}
"""Keywords that have as many entries as one likes; the last two have a list of them."""

_BOUNDS = frozenset({"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"})
"""Keywords that say how often something is repeated, which some engines write out."""

_RANGE = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")

_INNER = ("items", "prefixItems", "additionalProperties", "contains", "propertyNames", "not", "if", "then", "else")
"""Further keywords with a schema or several in them."""

_OBJECT = "object"

_HOPS = 8
"""References that are followed, one after another, to see what an instance begins with."""

_VALUE = 4
"""Characters that a value takes beside its own: quotes, a comma or colon, a blank."""


class SchemaSize(NamedTuple):
    """What can be counted of a schema without following it.

    characters: about as many as its JSON has.
    depth: levels of objects and lists within each other.
    entries: properties, required names, values of enumerations and definitions, all together.
    repetitions: the highest bound on a length or a number of items.
    name: the longest name of a property or definition, or reference.
    """

    characters: int
    depth: int
    entries: int
    repetitions: int
    name: int


def measure_schema(schema: Any, enough: int) -> SchemaSize:
    """The size of a schema, or of anything that has schemas in it.

    Args:
        enough: characters after which it is not looked at any further, so that the largest takes no longer than one
            of that size.
    """
    characters = depth = entries = repetitions = longest = 0
    level = [schema] if isinstance(schema, (dict, list)) else []
    while level:
        depth += 1
        inner: list[Any] = []
        for container in level:
            characters += len(container) * _VALUE
            if characters > enough:
                return SchemaSize(characters, depth, entries, repetitions, longest)
            if isinstance(container, dict):
                for keyword, value in container.items():
                    characters += len(keyword) + _VALUE
                    longest = max(longest, len(keyword))
                    if keyword == "$ref" and isinstance(value, str):
                        longest = max(longest, len(value))
                    elif keyword in _BOUNDS:
                        repetitions = max(repetitions, _whole(value))
                    elif isinstance(value, dict if keyword in _NAMED else list) and keyword in _COUNTED:
                        entries += len(value)
            for value in container.values() if isinstance(container, dict) else container:
                if isinstance(value, str):
                    characters += len(value)
                elif isinstance(value, (dict, list)):
                    inner.append(value)
        level = inner
    return SchemaSize(characters, depth, entries, repetitions, longest)


class SchemaWays(NamedTuple):
    """ways: the most that an answer can be on at one time, as far as the schema decides; infinite where they multiply
    with every level that is written, since a schema holds itself in several ways that begin alike.
    pattern: characters of its longest regular expression, with all that this repeats written out.
    depth: schemas within each other, through references, too.
    """

    ways: float
    pattern: int
    depth: int


def count_ways(schema: Any) -> SchemaWays:
    """The ways of a schema that has been measured: the time that this takes grows with its size.

    It errs to the high side: ways that end at the first character count until the end.

    Raises:
        RecursionError: the schema is deeper than Python's stack.
    """
    counter = _WayCounter(schema)
    return SchemaWays(counter.of(schema).ways, counter.pattern, counter.depth)


class _Counted(NamedTuple):
    """ways: see `count_ways`. open: the references that this leads back to."""

    ways: float
    open: frozenset[str] = frozenset()


class _WayCounter:
    def __init__(self, root: Any) -> None:
        self._root = root
        self._known: dict[str, _Counted] = {}
        self._followed: set[str] = set()
        self._level = 0
        self.pattern = 0
        self.depth = 0

    def of(self, schema: Any) -> _Counted:
        if not isinstance(schema, dict):
            return _Counted(1)
        self._level += 1
        self.depth = max(self.depth, self._level)
        counted = self._count(schema)
        self._level -= 1
        return counted

    def _count(self, schema: Mapping[str, Any]) -> _Counted:
        parts = [self._union(schema[keyword]) for keyword in ("anyOf", "oneOf") if _is_list(schema.get(keyword))]
        if _is_list(schema.get("allOf")):
            parts += map(self.of, schema["allOf"])
        if isinstance(schema.get("$ref"), str):
            parts.append(self._reference(schema["$ref"]))
        own = self._own(schema)
        ways = sum(part.ways for part in parts)
        if not parts or own.ways > 1:
            ways += own.ways
        kinds = schema.get("type")
        if isinstance(kinds, list) and kinds:
            # An engine that looks at each type by itself looks at a type that is there twice twice.
            ways = ways * max(map(kinds.count, kinds)) + len(kinds)
        return _Counted(ways, own.open.union(*(part.open for part in parts)))

    def _own(self, schema: Mapping[str, Any]) -> _Counted:
        """Without unions and references: what is listed, and whichever of its inner schemas has the most ways."""
        inner = [self.of(each) for each in _inner(schema)]
        ways = max((each.ways for each in inner), default=1)
        properties = schema.get("properties")
        if isinstance(properties, dict):
            required = schema.get("required")
            optional = properties.keys() - set(_strings(required))
            ways = max(ways, len(optional) + 1)
        if isinstance(schema.get("pattern"), str):
            pattern = measure_pattern(schema["pattern"])
            self.pattern = max(self.pattern, pattern.characters)
            ways = max(ways, pattern.ways)
        if _is_list(schema.get("enum")):
            ways = max(ways, len(schema["enum"]))
        if schema.keys() & {"minLength", "maxLength"}:
            # At each character it may end or go on, and whatever the text is, none of several is ruled out.
            ways = max(ways, 2)
        if schema.get("type") == "array":
            # Before each item it may end.
            ways += 1
        # A range of integers is written out, by how many digits they have.
        ways = max(ways, max((len(str(_whole(schema[bound]))) for bound in _RANGE if bound in schema), default=1))
        return _Counted(ways, frozenset().union(*(each.open for each in inner)))

    def _union(self, branches: list[Any]) -> _Counted:
        kinds = [self.of(branch) for branch in branches]
        recursive = [branch for branch, kind in zip(branches, kinds, strict=True) if kind.open]
        endless = len(recursive) > 1 and not self._told_apart(recursive)
        ways = math.inf if endless else sum(kind.ways for kind in kinds)
        return _Counted(ways, frozenset().union(*(kind.open for kind in kinds)))

    def _reference(self, reference: str) -> _Counted:
        if reference in self._followed:
            return _Counted(1, frozenset({reference}))
        if reference not in self._known:
            self._followed.add(reference)
            self._known[reference] = self.of(self._resolve(reference))
            self._followed.discard(reference)
        # What led back to a reference leads nowhere any more once that has been left.
        ways, open_references = self._known[reference]
        return _Counted(ways, open_references & self._followed)

    def _resolve(self, reference: str) -> Any:
        target = self._root
        for key in reference.partition("#")[2].split("/")[1:]:
            key = key.replace("~1", "/").replace("~0", "~")
            if isinstance(target, list) and key.isdecimal() and int(key) < len(target):
                target = target[int(key)]
            else:
                target = target.get(key) if isinstance(target, dict) else None
        return target

    def _told_apart(self, branches: list[Any]) -> bool:
        """Whether an answer is on one of the branches only before any of them leads back."""
        seen: set[str] = set()
        for branch in branches:
            openings = self._openings(branch, hops=0)
            if not openings or seen & openings:
                return False
            seen |= openings
        return _OBJECT not in seen or not any(each.startswith(f"{_OBJECT}:") for each in seen)

    def _openings(self, schema: Any, hops: int) -> set[str]:
        """What an instance begins with: its type and, for an object, its first value where the schema gives that.

        Nothing where it is not to be seen without following the schema.
        """
        if not isinstance(schema, dict) or schema.keys() & {"anyOf", "oneOf", "allOf"}:
            return set()
        if isinstance(schema.get("$ref"), str):
            return self._openings(self._resolve(schema["$ref"]), hops + 1) if hops < _HOPS else set()
        kind = schema.get("type")
        properties = schema.get("properties")
        if not isinstance(properties, dict):
            return {kind} if isinstance(kind, str) else set()
        required = set(_strings(schema.get("required")))
        first = next((name for name in properties if name in required), "")
        value = properties.get(first)
        if isinstance(value, dict) and "const" in value:
            return {f"{_OBJECT}:{first}:{value['const']!r}"}
        if isinstance(value, dict) and _is_list(value.get("enum")):
            return {f"{_OBJECT}:{first}:{each!r}" for each in value["enum"]}
        return {_OBJECT}


def _inner(schema: Mapping[str, Any]) -> Iterator[Any]:
    for keyword in _NAMED:
        named = schema.get(keyword)
        if isinstance(named, dict) and keyword not in ("$defs", "definitions"):
            yield from named.values()
    for keyword in _INNER:
        value = schema.get(keyword)
        if isinstance(value, list):
            yield from value
        elif isinstance(value, dict):
            yield value


def _strings(value: Any) -> Iterator[str]:
    return (each for each in value if isinstance(each, str)) if isinstance(value, list) else iter(())


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value)


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, (int, float)) and math.isfinite(value) else 0
