"""Answers of OpenAI's API as they arrive: streams of events, and whole responses."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from engineroom.openai.sse import EventParser, EventTooLargeError

from ..error_text import error_text, json_or_text
from .failure import RequestFailure, kind_of_status
from .measurement import Measurement

_MAX_ERROR = 65_536
_ABSENT = msgspec.Raw()
_NOTHING = (b"", b"null", b"[]", b"{}", b'""')


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None


class _Text(msgspec.Struct):
    """A delta of a stream, or a whole message. reasoning: as some servers call it."""

    content: Any = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: msgspec.Raw = _ABSENT
    refusal: str | None = None


class _AnswerChoice(msgspec.Struct):
    delta: _Text | None = None
    message: _Text | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Answer(msgspec.Struct):
    """A chunk of a stream or a whole response: only what a load test reads of it."""

    choices: list[_AnswerChoice] | None = None
    usage: _Usage | None = None
    error: msgspec.Raw = _ABSENT
    data: msgspec.Raw = _ABSENT


_decode = msgspec.json.Decoder(_Answer).decode


class AnswerReceiver:
    """Reads one response into a measurement: a stream of events or one JSON document, by its content type.

    After its exchange `finish` says whether the answer was whole.
    """

    __slots__ = ("_body", "_ended", "_headers", "_measurement", "_parser", "_refused", "_status")

    def __init__(self, measurement: Measurement) -> None:
        self._measurement = measurement
        self._parser: EventParser | None = None
        self._body = bytearray()
        self._headers: dict[str, str] = {}
        self._status = 0
        self._refused = False
        self._ended = False

    def on_head(self, status: int, headers: dict[str, str]) -> None:
        self._status = status
        self._headers = headers
        self._refused = not 200 <= status < 300
        if not self._refused and headers.get("content-type", "").startswith("text/event-stream"):
            self._parser = EventParser()

    def on_body(self, data: bytes, moment: float) -> None:
        if self._parser is None:
            if not self._refused or len(self._body) < _MAX_ERROR:
                self._body += data
            return
        try:
            events = self._parser.feed(data)
        except EventTooLargeError as error:
            raise RequestFailure("not the API", str(error), self._status) from None
        if events:
            self._events(events, moment)

    def finish(self, moment: float) -> None:
        """The response is complete.

        Raises:
            RequestFailure: it is an error, no answer of this API, or it ended before the answer was complete.
        """
        if self._refused:
            raise refusal(self._status, self._headers, bytes(self._body))
        measurement = self._measurement
        if self._parser is not None:
            last = self._parser.finish()
            if last:
                self._events(last, moment)
            if not self._ended and not measurement.finish_reason:
                raise RequestFailure("cut off", "the stream ended before the answer was complete", self._status)
        else:
            self._whole(moment)
        if not measurement.events and not measurement.completion_tokens:
            raise RequestFailure("no tokens", "the answer has no text in it", self._status)

    def _events(self, events: list[bytes], moment: float) -> None:
        with_text = 0
        for data in events:
            if data == b"[DONE]":
                self._ended = True
            elif self._read(data):
                with_text += 1
        if with_text:
            self._measurement.tokens_arrived(moment, with_text)

    def _whole(self, moment: float) -> None:
        body = bytes(self._body)
        if self._read(body):
            self._measurement.tokens_arrived(moment, 1)

    def _read(self, data: bytes) -> bool:
        """Note what one document says; whether it has text of the answer in it."""
        try:
            answer = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise _not_the_api(data, self._status) from None
        measurement = self._measurement
        if bytes(answer.error) not in _NOTHING:
            raise RequestFailure("error in the stream", error_text(json_or_text(data)), self._status)
        usage = answer.usage
        if usage is not None:
            _note_usage(usage, measurement)
        if answer.choices is None:
            is_embedding = bytes(answer.data) not in _NOTHING
            if not is_embedding and usage is None:
                raise _not_the_api(data, self._status)
            return is_embedding
        has_text = False
        for choice in answer.choices:
            if choice.finish_reason:
                measurement.finish_reason = choice.finish_reason
            text = _text_of(choice)
            if text:
                has_text = True
                if measurement.on_text is not None:
                    measurement.on_text(text)
        return has_text


def _note_usage(usage: _Usage, measurement: Measurement) -> None:
    measurement.prompt_tokens = usage.prompt_tokens
    # Embeddings have tokens of their prompt only.
    if usage.completion_tokens is not None:
        measurement.completion_tokens = usage.completion_tokens
    if usage.prompt_tokens_details is not None:
        measurement.cached_tokens = usage.prompt_tokens_details.cached_tokens


def _text_of(choice: _AnswerChoice) -> str:
    """The text of a choice, that of reasoning and of calls of tools included."""
    part = choice.delta or choice.message
    if part is None:
        return choice.text or ""
    content = part.content
    if content:
        return content if isinstance(content, str) else json.dumps(content)
    if part.reasoning_content or part.reasoning or part.refusal:
        return part.reasoning_content or part.reasoning or part.refusal or ""
    calls = bytes(part.tool_calls)
    return "" if calls in _NOTHING else calls.decode("utf-8", "replace")


def refusal(status: int, headers: dict[str, str], body: bytes) -> RequestFailure:
    """The failure that a response of another status than 2xx is."""
    reason = error_text(json_or_text(body))
    if 300 <= status < 400:
        reason = f"it redirects to {headers.get('location', 'nowhere')}; name that address"
    retry_after = headers.get("retry-after", "")
    seconds = float(retry_after) if retry_after.replace(".", "", 1).isdigit() else None
    return RequestFailure(kind_of_status(status), reason or f"status {status}", status, seconds)


def _not_the_api(data: bytes, status: int) -> RequestFailure:
    beginning = " ".join(data[:80].decode("utf-8", "replace").split())
    return RequestFailure("not the API", f"this is not an answer of OpenAI's API: {beginning!r}", status)
