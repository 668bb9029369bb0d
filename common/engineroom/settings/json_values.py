"""A setting that holds JSON, and what is wrong with it: where, in whose terms, and what to write."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from .suggestions import suggest

_SHAPES = {"object": dict, "list": list}
_EXAMPLES = {"object": 'an object, {"name": value}', "list": 'a list, ["a", "b"]'}
_AROUND = 20
"""Characters of the text that are shown before the place of an error."""


def parse_json(text: str, shape: str | None = None, keys: Collection[str] = ()) -> Any:
    """The value that JSON text stands for.

    Args:
        shape: `object` or `list`, where nothing else will do.
        keys: those that an object may have, where the others are known to be refused; `-` counts as `_`, and
            `key.inner` as `key`.

    Raises:
        ValueError: saying where the text goes wrong, and what to write.
    """
    text = text.strip()
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(_place(text, error)) from None
    if shape is not None and not isinstance(value, _SHAPES[shape]):
        raise ValueError(f"expected JSON with {_EXAMPLES[shape]}; got {_kind(value)}: {text}")
    if isinstance(value, dict) and keys:
        for key in value:
            name = key.replace("-", "_").split(".")[0]
            if name not in keys:
                near_miss = suggest(name, keys)
                hint = f"; did you mean {near_miss}?" if near_miss else f"; it takes {', '.join(sorted(keys))}"
                raise ValueError(f"has no key {key!r}{hint}")
    return value


def _place(text: str, error: ValueError) -> str:
    position = error.pos if isinstance(error, json.JSONDecodeError) else 0
    where = f"after {text[max(0, position - _AROUND) : position]!r}" if position else "at its beginning"
    reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
    return f"expected JSON: {reason[:1].lower()}{reason[1:]} {where}; {_remedy(text)}"


def _remedy(text: str) -> str:
    if re.search("[\u201c\u201d\u201e\u2018\u2019]", text):
        return 'write plain quotes ("), these are typographic ones'
    if '"' not in text and "'" in text:
        return 'JSON has double quotes ("), not single ones'
    if text.startswith("{") and '"' not in text and ":" in text:
        return "names and words need double quotes; a shell takes them away unless the whole stands in single quotes"
    if re.search(r"\b(True|False|None)\b", text):
        return "JSON writes true, false and null"
    if re.search(r",\s*[}\]]", text):
        return "JSON has no comma after the last item"
    if text.count("{") != text.count("}") or text.count("[") != text.count("]"):
        return "a bracket is missing"
    return f"got {text!r}"


def _kind(value: Any) -> str:
    kinds = {
        dict: "an object",
        list: "a list",
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
    }
    return kinds.get(type(value), "null")
