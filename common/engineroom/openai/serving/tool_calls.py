"""Tool calls: the schema of one that a request demands, and those that a model writes into its text.

Models write a call as JSON, `{"name": …, "arguments": {…}}`, behind a marker of their own (`<tool_call>` of Hermes and
Qwen, `[TOOL_CALLS]` of Mistral, `<|python_tag|>` of Llama) or as their whole answer. All of these are read, so nothing
has to be said about a model; where no tools are offered nothing is looked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from ..stop_strings import possible_start

MARKERS = ("<tool_call>", "[TOOL_CALLS]", "<|python_tag|>")
"""What stands before calls; an engine whose vocabulary has one as a special token gives its text all the same."""

_BETWEEN = re.compile(r"(?:[\s\[\],;]|</?tool_call>|TOOL_CALLS|<\|python_tag\|>)*")
"""What stands before, between and behind the JSON of calls."""
_FIRST_KEY = re.compile(r'\{\s*(?:\}|"(?!(?:name|arguments|parameters|type|id)")[^"]*")')
"""An object that begins in another way is no call, and is not waited for."""
_HEAD = re.compile(r'\{\s*"name"\s*:\s*"(?P<name>[^"\\]*)"\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{)')


class ToolCallPiece(msgspec.Struct, frozen=True):
    """A piece of a tool call: `name` on the first piece, then pieces of the arguments' JSON text.

    call: which of the message's tool calls, from 0.
    """

    call: int
    name: str | None = None
    arguments: str = ""


def schema(tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The JSON schema of a call of one of `tools`, in OpenAI's shape.

    What the parameters define for their `$ref`s moves to the top, where these look for it.
    """
    calls: list[dict[str, Any]] = []
    definitions: dict[str, dict[str, Any]] = {}
    for tool in tools:
        parameters = dict(tool["function"].get("parameters") or {"type": "object"})
        for place in ("$defs", "definitions"):
            if place in parameters:
                definitions[place] = {**definitions.get(place, {}), **parameters.pop(place)}
        properties = {"name": {"const": tool["function"]["name"]}, "arguments": parameters}
        calls.append(
            {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
        )
    return {**(calls[0] if len(calls) == 1 else {"anyOf": calls}), **definitions}


class CallReader:
    """Reads one choice's text: what is shown, and the calls in it, their arguments as they come.

    Args:
        names: of the tools that are offered; JSON that calls another is text.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._calling = False
        self._begun = False
        self._buffer = self._before = ""
        self._at = _Json()
        self._sent: int | None = None
        self.calls = 0
        """How many calls are complete."""

    def feed(self, text: str, last: bool = False) -> Iterator[str | ToolCallPiece]:
        """What `text` adds; with `last` also what was held back."""
        self._buffer += text
        while self._buffer:
            before = len(self._buffer), self._calling, self._sent
            yield from self._call(last) if self._calling else self._text(last)
            if (len(self._buffer), self._calling, self._sent) == before:
                return

    def _text(self, last: bool) -> Iterator[str]:
        buffer = self._buffer
        if not self._begun:
            if not (start := buffer.lstrip()) and not last:
                return
            self._begun = True
            if start.startswith("{"):
                self._calling = True
                return
        positions = [at for marker in MARKERS if (at := buffer.find(marker)) >= 0]
        self._calling = bool(positions)
        cut = min(positions) if positions else len(buffer) if last else min(possible_start(buffer, m) for m in MARKERS)
        self._buffer = buffer[cut:]
        if buffer[:cut]:
            yield buffer[:cut]

    def _call(self, last: bool) -> Iterator[str | ToolCallPiece]:
        if self._at.position == 0:
            start = _BETWEEN.match(self._buffer)
            rest = self._buffer[start.end() if start else 0 :]
            if not rest.startswith("{"):
                yield from self._no_call(rest, last)
                return
            self._before = self._buffer[: len(self._buffer) - len(rest)]
            self._buffer = rest
        closed = self._at.read(self._buffer)
        if self._sent is None and (head := _HEAD.match(self._buffer)) and head["name"] in self._names:
            self._sent = head.end()
            yield ToolCallPiece(self.calls, head["name"])
        if self._sent is not None:
            end = self._at.inner_end or len(self._buffer)
            if end > self._sent:
                yield ToolCallPiece(self.calls, arguments=self._buffer[self._sent : end])
                self._sent = end
        elif closed or last or _FIRST_KEY.match(self._buffer):
            yield from self._whole(self._buffer[: self._at.position])
        if closed or last or not self._calling:
            self.calls += self._sent is not None
            self._buffer, self._sent = self._buffer[self._at.position :], None
            self._at = _Json()

    def _no_call(self, rest: str, last: bool) -> Iterator[str]:
        """Behind the markers stands no call: wait for more, or go on with text."""
        if rest and (last or not any(possible_start(rest, m) == 0 for m in (*MARKERS, "</tool_call>"))):
            self._calling, self._begun = False, True
            if not self.calls:
                rest = self._buffer
            self._buffer = ""
            yield rest
        elif last:
            self._buffer = ""

    def _whole(self, text: str) -> Iterator[str | ToolCallPiece]:
        """A closed object that does not begin like a call: its keys stand in another order, or it is text."""
        try:
            call = json.loads(text)
            arguments = call.get("arguments", call.get("parameters"))
            known = call["name"] in self._names and isinstance(arguments, (dict, str))
        except (ValueError, KeyError, TypeError, AttributeError):
            known = False
        if not known:
            self._calling, self._begun = False, True
            yield text if self.calls else self._before + text
            return
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments, ensure_ascii=False)
        yield ToolCallPiece(self.calls, call["name"])
        yield ToolCallPiece(self.calls, arguments=arguments)
        self.calls += 1


class _Json:
    """How far a JSON object has been read.

    position: characters read. inner_end: where the first value inside it that is an object ended, once it did.
    """

    def __init__(self) -> None:
        self.position = 0
        self.inner_end = 0
        self._depth = 0
        self._quoted = False
        self._escaped = False

    def read(self, text: str) -> bool:
        """Go on through `text`; true once the object is closed, `position` behind it."""
        while self.position < len(text):
            character = text[self.position]
            self.position += 1
            if self._escaped:
                self._escaped = False
            elif self._quoted:
                self._escaped = character == "\\"
                self._quoted = character != '"'
            elif character == '"':
                self._quoted = True
            elif character in "{[":
                self._depth += 1
            elif character in "}]":
                self._depth -= 1
                if self._depth == 1 and not self.inner_end:
                    self.inner_end = self.position
                if self._depth == 0:
                    return True
        return False
