"""The items of a response's output while they are made, each with the events that tell a client of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from ..chat_reader import AnswerPiece, CallArguments, CallStart, ReasoningPiece, RefusalPiece, TextPiece
from ..translation import surface_id
from .items import FunctionName, sealed


class OutputItem(ABC):
    """One item; its events carry all but the sequence number.

    Args:
        index: its place in the output.
        prefix: of its id.
    """

    def __init__(self, index: int, prefix: str) -> None:
        self.id = surface_id(prefix)
        self._index = index

    @abstractmethod
    def takes(self, piece: AnswerPiece) -> bool:
        """Whether a piece goes on with this item; if not, the item is over."""

    @abstractmethod
    def item(self, status: str) -> dict[str, Any]:
        """The item as it is now."""

    @abstractmethod
    def add(self, piece: AnswerPiece) -> Iterator[dict[str, Any]]:
        """The events of a piece."""

    @abstractmethod
    def _last_events(self) -> Iterator[dict[str, Any]]:
        """The events at its end, before the one that has it whole."""

    def open(self) -> dict[str, Any]:
        """The event that it begins with."""
        return {"type": "response.output_item.added", "output_index": self._index, "item": self.item("in_progress")}

    def close(self, status: str) -> Iterator[dict[str, Any]]:
        """The events that it ends with; `status` is `completed` or `incomplete`."""
        yield from self._last_events()
        yield {"type": "response.output_item.done", "output_index": self._index, "item": self.item(status)}

    def _event(self, kind: str, **fields: Any) -> dict[str, Any]:
        return {"type": f"response.{kind}", "item_id": self.id, "output_index": self._index, **fields}


class MessageOutput(OutputItem):
    """What the model says; its content has a part of text, and one of refusal where there is any."""

    def __init__(self, index: int) -> None:
        super().__init__(index, "msg")
        self._parts: list[dict[str, Any]] = []

    def takes(self, piece: AnswerPiece) -> bool:
        return isinstance(piece, (TextPiece, RefusalPiece))

    def item(self, status: str) -> dict[str, Any]:
        parts = [dict(part) for part in self._parts]
        return {"type": "message", "id": self.id, "status": status, "role": "assistant", "content": parts}

    def add(self, piece: AnswerPiece) -> Iterator[dict[str, Any]]:
        assert isinstance(piece, (TextPiece, RefusalPiece))
        kind = "output_text" if isinstance(piece, TextPiece) else "refusal"
        if not self._parts or self._parts[-1]["type"] != kind:
            yield from self._last_events()
            blank = {"text": "", "annotations": [], "logprobs": []} if kind == "output_text" else {"refusal": ""}
            self._parts.append({"type": kind, **blank})
            yield self._part_event("content_part.added", part=dict(self._parts[-1]))
        part = self._parts[-1]
        if isinstance(piece, TextPiece):
            logprobs = [_logprob(entry) for entry in piece.logprobs]
            part["text"] += piece.text
            part["logprobs"] = [*part["logprobs"], *logprobs]
            yield self._part_event("output_text.delta", delta=piece.text, logprobs=logprobs)
        else:
            part["refusal"] += piece.text
            yield self._part_event("refusal.delta", delta=piece.text)

    def _last_events(self) -> Iterator[dict[str, Any]]:
        if not self._parts:
            return
        part = self._parts[-1]
        if part["type"] == "output_text":
            yield self._part_event("output_text.done", text=part["text"], logprobs=part["logprobs"])
        else:
            yield self._part_event("refusal.done", refusal=part["refusal"])
        yield self._part_event("content_part.done", part=dict(part))

    def _part_event(self, kind: str, **fields: Any) -> dict[str, Any]:
        return self._event(kind, content_index=len(self._parts) - 1, **fields)


class ReasoningOutput(OutputItem):
    """What the model thinks.

    Args:
        summarise: whether the client asked for a summary. The reasoning itself is given as that, then, as many clients
            show nothing else of it.
        seal: whether the client asked for `encrypted_content`, to hand the reasoning back without keeping it.
    """

    def __init__(self, index: int, summarise: bool, seal: bool) -> None:
        super().__init__(index, "rs")
        self._summarise = summarise
        self._seal = seal
        self._text = ""
        self._begun = False

    def takes(self, piece: AnswerPiece) -> bool:
        return isinstance(piece, ReasoningPiece)

    def item(self, status: str) -> dict[str, Any]:
        item: dict[str, Any] = {"type": "reasoning", "id": self.id, "status": status, "summary": []}
        if self._begun:
            item["summary" if self._summarise else "content"] = [self._part()]
        if self._seal and status != "in_progress":
            item["encrypted_content"] = sealed(self._text)
        return item

    def add(self, piece: AnswerPiece) -> Iterator[dict[str, Any]]:
        assert isinstance(piece, ReasoningPiece)
        if not self._begun:
            self._begun = True
            kind = "reasoning_summary_part.added" if self._summarise else "content_part.added"
            yield self._part_event(kind, part=self._part())
        self._text += piece.text
        yield self._part_event(self._text_kind("delta"), delta=piece.text)

    def _last_events(self) -> Iterator[dict[str, Any]]:
        if self._begun:
            yield self._part_event(self._text_kind("done"), text=self._text)
            kind = "reasoning_summary_part.done" if self._summarise else "content_part.done"
            yield self._part_event(kind, part=self._part())

    def _text_kind(self, end: str) -> str:
        return f"reasoning_summary_text.{end}" if self._summarise else f"reasoning_text.{end}"

    def _part(self) -> dict[str, Any]:
        return {"type": "summary_text" if self._summarise else "reasoning_text", "text": self._text}

    def _part_event(self, kind: str, **fields: Any) -> dict[str, Any]:
        return self._event(kind, **{"summary_index" if self._summarise else "content_index": 0}, **fields)


class FunctionCallOutput(OutputItem):
    """A function that the model wants to have called.

    Args:
        function: its name as the client knows it.
    """

    def __init__(self, index: int, call: CallStart, function: FunctionName) -> None:
        super().__init__(index, "fc")
        self._call = call
        self._function = function
        self._arguments = ""

    def takes(self, piece: AnswerPiece) -> bool:
        return isinstance(piece, CallArguments)

    def item(self, status: str) -> dict[str, Any]:
        call = {"call_id": self._call.call_id, "name": self._function.name, "arguments": self._arguments}
        if self._function.namespace is not None:
            call["namespace"] = self._function.namespace
        return {"type": "function_call", "id": self.id, "status": status, **call}

    def add(self, piece: AnswerPiece) -> Iterator[dict[str, Any]]:
        assert isinstance(piece, CallArguments)
        self._arguments += piece.text
        yield self._event("function_call_arguments.delta", delta=piece.text)

    def close(self, status: str) -> Iterator[dict[str, Any]]:
        # A function without arguments is called with an empty object, which clients decode.
        if not self._arguments and status == "completed":
            yield from self.add(CallArguments("{}"))
        yield from super().close(status)

    def _last_events(self) -> Iterator[dict[str, Any]]:
        yield self._event("function_call_arguments.done", name=self._function.name, arguments=self._arguments)


def _logprob(entry: dict[str, Any]) -> dict[str, Any]:
    """A token's logprob; a chat's entries have the same shape, and perhaps fields of the engine's own."""
    names = ("token", "bytes", "logprob")
    top = [{name: other.get(name) for name in names} for other in entry.get("top_logprobs") or ()]
    return {**{name: entry.get(name) for name in names}, "top_logprobs": top}
