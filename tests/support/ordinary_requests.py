"""Requests for structured answers as people make them: within every engine's default limits, and soon answered."""

from __future__ import annotations

from collections.abc import Mapping
from string import ascii_lowercase
from typing import Any

_JSON = dict[str, Any]


def _object(properties: Mapping[str, Any], optional: bool = False) -> _JSON:
    required = [] if optional else list(properties)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _names(count: int, ending: str) -> list[str]:
    """So many names that begin as those of places do: with any letter, many with the same three."""
    beginnings = [first + vowel + last for first in "BGKMNST" for vowel in "aeiou" for last in "lnr"]
    return [f"{beginnings[n % len(beginnings)]}{ascii_lowercase[n % 26]}{ending} {n}" for n in range(count)]


_COUNTRIES = _names(249, "land")
_STATES = _names(50, "a")
_CURRENCIES = [first + second + third for first in "ABCEGK" for second in "ALNRS" for third in "DFKNPR"]
_ARGUMENTS = {
    "place": {"type": "string", "description": "Where to look."},
    "unit": {"enum": ["celsius", "fahrenheit", "kelvin"]},
    "days": {"type": "integer", "minimum": 1, "maximum": 14},
    "details": {"type": "boolean"},
    "languages": {"type": "array", "items": {"enum": _names(20, "ish")}, "maxItems": 5},
}
_ARTICLE = {"name": {"type": "string", "maxLength": 200}, "price": {"type": "number"}, "count": {"type": "integer"}}


def _of_schema(schema: _JSON) -> _JSON:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}}


ORDINARY: Mapping[str, _JSON] = {
    "a country out of 249": _of_schema(_object({"country": {"enum": _COUNTRIES}})),
    "a state out of 50, three times": _of_schema(
        _object({name: {"enum": _STATES} for name in ("born in", "lives in", "works in")})
    ),
    "a list of prices in one of 180 currencies": _of_schema(
        {"type": "array", "items": _object({"amount": {"type": "number"}, "currency": {"enum": _CURRENCIES}})}
    ),
    "an order with 30 optional fields": _of_schema(
        _object({f"field_{n}": {"anyOf": [{"type": "string"}, {"type": "null"}]} for n in range(30)}, optional=True)
    ),
    "articles within articles": _of_schema(
        {
            **_object({"article": {"$ref": "#/$defs/article"}}),
            "$defs": {
                "article": _object({**_ARTICLE, "parts": {"type": "array", "items": {"$ref": "#/$defs/article"}}})
            },
        }
    ),
    "a date, a time or a telephone number": _of_schema(
        _object(
            {
                "when": {"anyOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "time"}]},
                "telephone": {"type": "string", "pattern": "^(\\+[0-9]{1,3} )?[0-9]{3,5}([ -][0-9]{2,4}){1,4}$"},
            }
        )
    ),
    "one of 64 tools": {
        "tools": [
            {"type": "function", "function": {"name": f"tool_{n}", "parameters": _object(_ARGUMENTS)}}
            for n in range(64)
        ],
        "tool_choice": "required",
    },
}
"""What is asked for -> the fields of a chat beside its messages."""
