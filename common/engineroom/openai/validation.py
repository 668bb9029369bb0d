"""Requests checked against their schema, and what is said of one that does not fit, in OpenAI's manner."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from ..errors import APIError

T = TypeVar("T")

UNKNOWN_FIELD = "Unrecognized request argument supplied: "
"""How OpenAI's errors begin that name a field which it does not have."""

_PLACE = re.compile(r" - at `(?:key` in `)?\$\.?(?P<path>.*)`$")
_MISSING = re.compile(r"^Object missing required field `(?P<field>.*)`$")
_WRONG_TYPE = re.compile(r"^Expected `(?P<expected>[^`]*)`, got `[^`]*`$")
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<field>.*)`$")
_NO_MATCH = re.compile(r"^Expected `str` matching regex (?P<pattern>'.*')$")
_OUT_OF_RANGE = re.compile(r"^Expected `(?P<kind>[^`]*)` (?P<length>of length )?(?P<bound>[<>]=?) (?P<limit>[-\d.]+)$")
_KINDS = {
    "str": "a string",
    "int": "an integer",
    "float": "a decimal",
    "bool": "a boolean",
    "object": "an object",
    "array": "an array",
    "null": "null",
}


class KnownFields(msgspec.Struct, forbid_unknown_fields=True):
    """A part of a request that refuses what it does not know.

    What it knows and nobody reads has no effect, and docs/fields.md gives the reason.
    """


def check(json: Mapping[str, Any], schema: type[T], where: str = "") -> T:
    """`json` as a `schema`; fields that it does not know are left alone, unless it forbids them.

    Args:
        where: the dotted path of `json` in the request, where it is a part of it.

    Raises:
        APIError: 400, `param` the dotted path of the first field that is wrong.
    """
    try:
        return msgspec.convert(json, schema, str_keys=True)
    except msgspec.ValidationError:
        pass
    try:
        return msgspec.convert(_whole_numbers(json), schema, str_keys=True)
    except msgspec.ValidationError as error:
        raise explain(str(error), json, where) from error


def _whole_numbers(value: Any) -> Any:
    """`value` with 2.0 as 2: to JSON they are one number, to msgspec only the second is an integer."""
    if isinstance(value, dict):
        return {key: _whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def explain(message: str, json: Any, where: str = "") -> APIError:
    """msgspec's words in OpenAI's: which field, what it takes, what was found; `where` is the path of `json`."""
    path = ""
    if at := _PLACE.search(message):
        message = message[: at.start()]
        path = at["path"].replace("[...]", ".*").replace("[", ".").replace("]", "").strip(".")
        path = _without_wildcards(json, path, message)
    value = _find(json, path)
    path = f"{where}.{path}".strip(".")
    if missing := _MISSING.match(message):
        path = f"{path}.{missing['field']}" if path else missing["field"]
        return invalid(f"Missing required parameter: '{path}'.", path, "missing_required_parameter")
    if unknown := _UNKNOWN.match(message):
        path = f"{path}.{unknown['field']}" if path else unknown["field"]
        return invalid(f"Unknown parameter: '{path}'.", path, "unknown_parameter")
    if wrong := _WRONG_TYPE.match(message):
        expected = [_KINDS.get(kind, kind) for kind in wrong["expected"].split(" | ") if kind != "null"]
        one_of = "one of " if len(expected) > 1 else ""
        return invalid(
            f"Invalid type for '{path}': expected {one_of}{' or '.join(expected)}, but got {_kind(value)} instead.",
            path,
            "invalid_type",
        )
    if bounds := _OUT_OF_RANGE.match(message):
        return _out_of_range(path, value, **bounds.groupdict())
    if no_match := _NO_MATCH.match(message):
        return invalid(
            f"Invalid '{path}': string does not match pattern. Expected a string that matches the pattern "
            f"{no_match['pattern']}.",
            path,
            "invalid_value",
        )
    if message.startswith(("Invalid value", "Invalid enum value")):
        return invalid(f"Invalid value: '{value}' is not supported for '{path}'.", path, "invalid_value")
    return invalid(f"Invalid '{path}': {message}.", path, "invalid_value")


def invalid(message: str, param: str | None, code: str | None = None) -> APIError:
    """A 400 for one parameter."""
    return APIError(message, param=param, code=code)


def not_served(name: str, instead: str) -> APIError:
    """A 400 for a field of a vendor's API that is refused here; `instead` says what there is in its place."""
    return invalid(f"'{name}' is not served here; {instead}.", name, "unsupported_parameter")


def unknown_field(name: str) -> APIError:
    """A 400, in OpenAI's words, for a field that neither its API nor the engine has."""
    return invalid(UNKNOWN_FIELD + name, name)


def _out_of_range(path: str, value: Any, kind: str, length: str | None, bound: str, limit: str) -> APIError:
    what = _KINDS.get(kind, kind).split()[-1]
    over = bound.startswith("<")
    limit = limit.removesuffix(".0")
    if length:
        size = len(value) if isinstance(value, (str, list, dict)) else 0
        return invalid(
            f"Invalid '{path}': {what} too {'long' if over else 'short'}. Expected {_KINDS.get(kind, kind)} with "
            f"{'maximum' if over else 'minimum'} length {limit}, but got one with length {size} instead.",
            path,
            f"{what}_{'above_max' if over else 'below_min'}_length",
        )
    return invalid(
        f"Invalid '{path}': {what} {'above maximum' if over else 'below minimum'} value. "
        f"Expected a value {bound} {limit}, but got {value} instead.",
        path,
        f"{what}_{'above_max' if over else 'below_min'}_value",
    )


def _without_wildcards(json: Any, path: str, message: str) -> str:
    """The path of the value that is wrong, where msgspec says only that it is one of an object's."""
    before, wildcard, after = path.partition(".*")
    if not wildcard:
        return path
    inner = _find(json, before)
    for key, value in inner.items() if isinstance(inner, dict) and not after else ():
        if _is_wrong(value, message):
            return f"{before}.{key}"
    return _without_wildcards(json, f"{before}{after}", message)


def _is_wrong(value: Any, message: str) -> bool:
    """Whether a value is one of which msgspec would say this."""
    if wrong := _WRONG_TYPE.match(message):
        kinds = {_KINDS.get(kind, kind) for kind in wrong["expected"].split(" | ")}
        number = _kind(value) == "an integer" and "a decimal" in kinds
        return _kind(value) not in kinds and not number
    bounds = _OUT_OF_RANGE.match(message)
    if bounds is None:
        return False
    size = len(value) if bounds["length"] and isinstance(value, str) else value
    if isinstance(size, bool) or not isinstance(size, (int, float)):
        return False
    return size > float(bounds["limit"]) if bounds["bound"].startswith("<") else size < float(bounds["limit"])


def _find(json: Any, path: str) -> Any:
    for key in path.split(".") if path else ():
        if isinstance(json, list) and key.isdigit() and int(key) < len(json):
            json = json[int(key)]
        elif isinstance(json, dict):
            json = json.get(key)
    return json


def _kind(value: Any) -> str:
    for types, kind in (
        ((type(None),), "null"),
        ((bool,), "boolean"),
        ((int,), "int"),
        ((float,), "float"),
        ((str,), "str"),
        ((list,), "array"),
    ):
        if isinstance(value, types):
            return "a boolean" if kind == "boolean" else _KINDS[kind]
    return "an object"
