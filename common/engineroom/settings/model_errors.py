"""What is wrong with a value of a settings model, in the words that an engine's flags use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .limits import Limits

_EXPECTED = {
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number",
    "float_parsing": "a number",
    "finite_number": "a number",
    "bool_parsing": "true or false",
    "path_type": "a path",
}
_LIMITS = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt", "less_than_equal": "le"}


def explain(detail: Mapping[str, Any], text: str | None, limits: Limits) -> str:
    """One of pydantic's errors, for a person.

    Args:
        detail: the error as `ValidationError.errors` has it.
        text: the value as it was written; None keeps it out of the message, as a secret's.
        limits: those of the field; an error only tells the one that is broken.
    """
    kind = str(detail["type"])
    if kind in _EXPECTED:
        expected = _EXPECTED[kind]
    elif kind in _LIMITS:
        expected = limits.words
    elif kind == "literal_error":
        expected = f"one of {str(detail.get('ctx', {}).get('expected', '')).replace(chr(39), '').replace(' or ', ', ')}"
    else:
        message = str(detail["msg"]).removeprefix("Value error, ")
        return message[:1].lower() + message[1:]
    return f"expected {expected}" + (f"; got {text!r}" if text is not None else "")
