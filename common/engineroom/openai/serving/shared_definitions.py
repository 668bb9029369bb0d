"""Definitions of several JSON schemas in one: each schema's `$ref`s lead to its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

PLACES = ("$defs", "definitions")
"""Where a schema defines what it refers to, at its top."""

_VALUES = ("const", "default", "enum", "example", "examples")
"""Keywords whose values are data: a `$ref` in them refers to nothing."""


class SharedDefinitions:
    """What several schemas define, to stand at the top of one schema that has them all inside it.

    Schemas that define the same name in the same way share it. Where they differ, the later one's names are changed.

    top: the definitions, by the place (`$defs`, `definitions`) and the name.
    """

    def __init__(self) -> None:
        self.top: dict[str, dict[str, Any]] = {}
        self._taken = 0

    def take(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """A schema without its definitions, which are at the top now; its `$ref`s lead there.

        A `$ref` to the schema itself (`#`), or to a part of it (`#/properties/…`), leads to a copy at the top.
        """
        self._taken += 1
        rest = {key: value for key, value in schema.items() if key not in PLACES}
        defined = {place: schema[place] for place in PLACES if isinstance(schema.get(place), Mapping)}
        new_names = self._new_names(defined)
        itself = self._unused(PLACES[0], "schema", defined.get(PLACES[0], {}))
        used: list[str] = []

        def moved(reference: str) -> str:
            parts = _pointer(reference)
            if parts is None:
                return reference
            if parts and parts[0] in PLACES and len(parts) > 1:
                place, name, *deeper = parts
                return _reference([place, new_names.get((place, name), name), *deeper])
            used.append(itself)
            return _reference([PLACES[0], itself, *parts])

        result: dict[str, Any] = _with_references(rest, moved)
        for place, definitions in defined.items():
            for name, definition in definitions.items():
                kept = self.top.setdefault(place, {})
                kept[new_names.get((place, name), name)] = _with_references(definition, moved)
        if used:
            self.top.setdefault(PLACES[0], {})[itself] = result
        return result

    def _new_names(self, defined: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str], str]:
        """(place, name) -> the name at the top, for those that have to change.

        One that differs changes all that another schema has, too: a definition that looks the same may refer to it.
        """
        shared = [
            (place, name) for place, names in defined.items() for name in names if name in self.top.get(place, {})
        ]
        if all(self.top[place][name] == defined[place][name] for place, name in shared):
            return {}
        return {(place, name): self._unused(place, name, defined[place]) for place, name in shared}

    def _unused(self, place: str, name: str, beside: Mapping[str, Any]) -> str:
        """A name like `name` that no definition has."""
        number = self._taken
        while f"{name}_{number}" in self.top.get(place, {}) or f"{name}_{number}" in beside:
            number += 1
        return f"{name}_{number}"


def _with_references(value: Any, moved: Callable[[str], str]) -> Any:
    """A part of a schema with each of its `$ref`s replaced."""
    if isinstance(value, list):
        return [_with_references(item, moved) for item in value]
    if not isinstance(value, Mapping):
        return value
    result: dict[str, Any] = {}
    for key, item in value.items():
        if key == "$ref" and isinstance(item, str):
            result[key] = moved(item)
        elif key in _VALUES and not isinstance(item, Mapping):
            result[key] = item
        else:
            result[key] = _with_references(item, moved)
    return result


def _pointer(reference: str) -> list[str] | None:
    """The parts of a JSON pointer in a reference (RFC 6901, 6); None for a reference to anything else."""
    if reference == "#":
        return []
    if not reference.startswith("#/"):
        return None
    parts = unquote(reference[2:]).split("/")
    return [part.replace("~1", "/").replace("~0", "~") for part in parts]


def _reference(parts: list[str]) -> str:
    return "#/" + "/".join(part.replace("~", "~0").replace("/", "~1") for part in parts)
