"""What a client of OpenAI's API gets of a job's output, as RunPod makes it where it stands between the two."""

from __future__ import annotations

import msgspec


def as_events(item: msgspec.Raw) -> bytes:
    """An item of a job's stream: text as it is, anything else as an event of its own; nothing where there is none."""
    if not item:
        return b""
    value = msgspec.json.decode(item)
    return value.encode() if isinstance(value, str) else b"data: " + bytes(item) + b"\n\n"


def as_body(output: msgspec.Raw) -> bytes:
    """A finished job's output as a response: a list of one is that one, and text is JSON already."""
    if not output:
        return b"null"
    value = msgspec.json.decode(output)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value.encode() if isinstance(value, str) else msgspec.json.encode(value)
