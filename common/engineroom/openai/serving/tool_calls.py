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
from .shared_definitions import SharedDefinitions

MARKERS = ("<tool_call>", "[TOOL_CALLS]", "<|python_tag|>")
"""What stands before calls; an engine whose vocabulary has one as a special token gives its text all the same."""

_BETWEEN = re.compile(r"(?:[\s\[\],;]|</?tool_call>|TOOL_CALLS|<\|python_tag\|>)*")
"""What stands before, between and behind the JSON of calls."""
_FIRST_KEY = re.compile(r'\{\s*(?:\}|"(?!(?:name|arguments|parameters|type|id)")[^"]*")')
"""An object whose first key is another than a call's is no call: nobody waits for its end."""
_HEAD = re.compile(r'\{\s*"name"\s*:\s*"(?P<name>[^"\\]*)"\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{)')


class ToolCallChunk(msgspec.Struct, frozen=True):
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
    shared = SharedDefinitions()
    for tool in tools:
        parameters = shared.take(tool["function"].get("parameters") or {"type": "object"})
        properties = {"name": {"const": tool["function"]["name"]}, "arguments": parameters}
        calls.append(
            {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
        )
    return {**(calls[0] if len(calls) == 1 else {"anyOf": calls}), **shared.top}


class ToolCallParser:
    """Reads one choice's text as it is generated: tells text that is shown from calls, and streams a call's arguments.

    It is in one of two states. In text, it shows everything up to a marker. At a call, it has read a marker, or the
    choice began with `{`: it waits until the buffer tells whether a call stands there. JSON that is no call of an
    offered tool is shown as text.

    Args:
        names: of the tools that are offered; JSON that calls another is text.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._at_call = False
        self._begun = False
        """Whether anything but white space has come: only at the very beginning is a bare `{` taken for a call."""
        self._buffer = ""
        """What has come and is not yet given out. At a call, it begins with the object once that has begun."""
        self._skipped = ""
        """The markers before the object, which are shown after all if the object is no call."""
        self._object = _ObjectScanner()
        self._sent: int | None = None
        """How much of the buffer has been given out as arguments; None until the call's name is known."""
        self.calls = 0
        """How many calls are complete."""

    def feed(self, text: str, last: bool = False) -> Iterator[str | ToolCallChunk]:
        """What `text` adds; with `last` also what was held back."""
        self._buffer += text
        # Each step takes something off the buffer, changes the state or gives out more arguments. A step that does
        # none of it waits for more text.
        while self._buffer:
            before = len(self._buffer), self._at_call, self._sent
            if self._at_call:
                yield from self._read_call(last)
            else:
                yield from self._read_text(last)
            if (len(self._buffer), self._at_call, self._sent) == before:
                return

    def _read_text(self, last: bool) -> Iterator[str]:
        buffer = self._buffer
        if not self._begun:
            start = buffer.lstrip()
            if not start and not last:
                return
            self._begun = True
            if start.startswith("{"):
                self._at_call = True
                return
        positions = [buffer.find(marker) for marker in MARKERS if marker in buffer]
        if positions:
            self._at_call = True
            end = min(positions)
        elif last:
            end = len(buffer)
        else:
            # The end of the buffer may be the beginning of a marker, which is not shown before that is known.
            end = min(possible_start(buffer, marker) for marker in MARKERS)
        self._buffer = buffer[end:]
        if end:
            yield buffer[:end]

    def _read_call(self, last: bool) -> Iterator[str | ToolCallChunk]:
        if self._object.position == 0:
            start = _BETWEEN.match(self._buffer)
            rest = self._buffer[start.end() if start else 0 :]
            if not rest.startswith("{"):
                yield from self._leave_call(rest, last)
                return
            self._skipped = self._buffer[: len(self._buffer) - len(rest)]
            self._buffer = rest
        closed = self._object.read(self._buffer)
        head = _HEAD.match(self._buffer) if self._sent is None else None
        if head and head["name"] in self._names:
            self._sent = head.end()
            yield ToolCallChunk(self.calls, head["name"])
        if self._sent is not None:
            # The name came before the arguments, so these can be streamed, up to the brace that closes them.
            end = self._object.inner_end or len(self._buffer)
            if end > self._sent:
                yield ToolCallChunk(self.calls, arguments=self._buffer[self._sent : end])
                self._sent = end
        elif closed or last or _FIRST_KEY.match(self._buffer):
            yield from self._read_whole_object(self._buffer[: self._object.position])
        if closed or last or not self._at_call:
            if self._sent is not None:
                self.calls += 1
            self._buffer = self._buffer[self._object.position :]
            self._sent = None
            self._object = _ObjectScanner()

    def _leave_call(self, rest: str, last: bool) -> Iterator[str]:
        """What follows the markers does not begin with an object: wait if it still may, or go on with text."""
        may_be_marker = any(possible_start(rest, marker) == 0 for marker in (*MARKERS, "</tool_call>"))
        if rest and (last or not may_be_marker):
            self._at_call = False
            self._begun = True
            # Markers after a call only close it; markers without any call were the model's own words.
            shown = rest if self.calls else self._buffer
            self._buffer = ""
            yield shown
        elif last:
            self._buffer = ""

    def _read_whole_object(self, text: str) -> Iterator[str | ToolCallChunk]:
        """An object whose beginning is not that of a call: its keys stand in another order, or it is text."""
        try:
            call = json.loads(text)
            arguments = call.get("arguments", call.get("parameters"))
            known = call["name"] in self._names and isinstance(arguments, (dict, str))
        except (ValueError, KeyError, TypeError, AttributeError):
            known = False
        if not known:
            self._at_call = False
            self._begun = True
            yield text if self.calls else self._skipped + text
            return
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments, ensure_ascii=False)
        yield ToolCallChunk(self.calls, call["name"])
        yield ToolCallChunk(self.calls, arguments=arguments)
        self.calls += 1


class _ObjectScanner:
    """How far a JSON object has been read, a character at a time, since it comes in pieces that no parser takes.

    position: characters read. inner_end: where the first object or list inside it ended, 0 until then.
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
