"""Reading responses, with a sentence for what is missing: what was promised, and what the engine sent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

QUESTION = [{"role": "user", "content": "Count from one to twenty in words."}]


def choices_of(body: Any) -> list[dict[str, Any]]:
    """The choices of a whole response; there is at least one."""
    choices = body.get("choices") if isinstance(body, dict) else None
    assert isinstance(choices, list), f"a response has a list of choices, not this: {body!r}"
    assert choices, f"a response has at least one choice: {body!r}"
    return choices


def choices_in(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The choices of all a stream's events, in their order."""
    for event in events:
        assert isinstance(event.get("choices"), list), f"each event of a stream has a list of choices: {event!r}"
    choices = [choice for event in events for choice in event["choices"]]
    assert choices, f"a stream has choices in some of its events: {events!r}"
    return choices


def content_of(body: Any) -> str:
    """The text of a chat's first choice."""
    message = choices_of(body)[0].get("message")
    content = message.get("content") if isinstance(message, dict) else None
    assert isinstance(content, str), f"a chat's choice has a message whose content is text: {body!r}"
    return content


def streamed_content(events: Sequence[dict[str, Any]]) -> str:
    """The text of a streamed chat of one choice."""
    return "".join(delta_of(choice).get("content") or "" for choice in choices_in(events))


def delta_of(choice: dict[str, Any]) -> dict[str, Any]:
    """What one event adds to a choice of a chat."""
    delta = choice.get("delta")
    assert isinstance(delta, dict), f"a streamed chat's choice has a delta: {choice!r}"
    return delta


def usage_of(body: dict[str, Any], *names: str) -> dict[str, Any]:
    """The usage of a response or of an event; `names` are counts that it has."""
    usage = body.get("usage")
    assert isinstance(usage, dict), f"usage was promised and is not there: {body!r}"
    for name in names:
        assert isinstance(usage.get(name), int), f"usage counts {name}: {usage!r}"
    return usage


def error_of(status: int, body: Any, expected: int) -> dict[str, Any]:
    """The error object of a response whose status was to be `expected`."""
    assert status == expected, f"the status was to be {expected}; it was {status}: {body!r}"
    error: Any = body.get("error") if isinstance(body, dict) else None
    assert isinstance(error, dict), f"an error is a JSON object with an `error` in it, not this: {body!r}"
    missing = {"message", "type", "param", "code"} - set(error)
    assert not missing, f"an error has message, type, param and code; this one lacks {', '.join(missing)}: {error!r}"
    assert error["message"], f"an error's message says what is wrong; this one is empty: {error!r}"
    assert "Traceback" not in error["message"], f"a client is shown no traceback: {error['message']!r}"
    return error


def is_honest_refusal(status: int, body: Any, fields: Sequence[str]) -> bool:
    """Whether a response is a 400 that names one of the fields, in `param` or in its message."""
    error = body.get("error") if isinstance(body, dict) else None
    if status != 400 or not isinstance(error, dict):
        return False
    words = f"{error.get('param') or ''} {error.get('message') or ''}"
    return any(re.search(rf"(?<!\w){re.escape(field)}(?!\w)", words) for field in fields)
