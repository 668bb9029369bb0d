"""llama.cpp's error answers, and its ends, in words that a person can act on."""

from __future__ import annotations

import re
from collections.abc import Sequence

from engineroom.errors import APIError
from engineroom.openai.upstream_errors import field_about, from_upstream

_LIBRARY = re.compile(r"\[json\.exception\.[\w.]+\] ")
_FIELD = re.compile(r"^(?:Field )?'(?P<field>[\w.]+)'(?: is required|:)")
_SCHEMA = re.compile(r"JSON schema error at (?P<place>#\S*): (?P<says>.*)", re.DOTALL)
"""A schema that no grammar can be made of; that of a tool stands in one for the whole call."""
_OF_A_CALL = re.compile(r"^#(?:/anyOf/\d+)?/properties/arguments")
_ABOUT = (
    ("Prompt contains invalid tokens", "prompt"),
    ("penalty_repeat must be", "repeat_penalty"),
    ("continue_final_message", "continue_final_message"),
)
"""What a message says -> the field that it is about."""
_TOO_LARGE = re.compile(r"^input \(\d+ tokens\) is too large to process")
_UNSUPPORTED_INPUT = re.compile(r"^(image|audio|video) input is not supported")
_ILLEGAL = -4
_SEGMENTATION = -11
_AMX_IN_USE = re.compile(r"\bAMX\b.*buffer|repack: .*\bAMX\b", re.IGNORECASE)
"""A line of the log that says that weights are laid out for AMX."""


def normalise(status: int, body: bytes) -> APIError:
    """llama.cpp's error as OpenAI's: its own types are names of the kind that OpenAI has in `code`."""
    error = from_upstream(status, body)
    message = _LIBRARY.sub("", error.message)
    code = error.code
    field = _FIELD.match(message)
    if match := _UNSUPPORTED_INPUT.match(message):
        message = f"This model does not accept {match[1]} input. For a model that does, set MMPROJ to its projector."
        return APIError(message, status=400, param="messages", code="unsupported_content")
    if _TOO_LARGE.match(message):
        # An embedding is made of its whole input at once.
        what = message.partition(". ")[0]
        return APIError(f"{what}; UBATCH_SIZE allows more.", param="input", code="context_length_exceeded")
    if schema := _SCHEMA.search(message):
        param = "tools" if _OF_A_CALL.match(schema["place"]) else "response_format"
        return APIError(
            f"Invalid '{param}': its schema cannot be enforced: {schema['says']} (at {schema['place']}).",
            param=param,
            code="unsupported_schema",
        )
    if status == 501 or (status == 500 and field):
        # What the client asked for, or how, is at fault; nothing failed.
        status = 400
    return APIError(
        message,
        status=status,
        param=error.param or (field["field"] if field else field_about(message, _ABOUT)),
        code=code if code and not code.isdigit() else None,
        retry_after=error.retry_after,
    )


def explain_signal(returncode: int, log: Sequence[str]) -> str | None:
    """What a signal means that ends the process without a word; None where it may mean anything.

    An illegal instruction is what it says. A segmentation fault is put down to AMX only where the log says that it is
    in use.
    """
    uses_amx = any(_AMX_IN_USE.search(line) for line in log)
    if returncode == _ILLEGAL or (returncode == _SEGMENTATION and uses_amx):
        return (
            "a machine that advertises CPU instructions it does not let programs use (AMX on some virtual machines) "
            "ends it so; REPACK=false may help"
        )
    return None
