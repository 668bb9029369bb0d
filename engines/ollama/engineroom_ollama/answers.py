"""Ollama's answers as OpenAI's: its lines of JSON as an event stream, its vectors as a list."""

from __future__ import annotations

import base64
import struct
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from engineroom.asgi import Scope, Send, send_body
from engineroom.engine import MODELS
from engineroom.http_client import RelayableResponse, Sink
from engineroom.openai import sse
from engineroom.openai.body import Request
from engineroom.openai.event_stream import decode_event, wants_usage_event
from engineroom.openai.routes import CHAT_COMPLETIONS, EMBEDDINGS, TEXT_ROUTES
from engineroom.openai.serving import logprobs
from engineroom.openai.serving.response import Envelope, new_id
from engineroom.openai.serving.tokens import Token
from engineroom.openai.stop_strings import TextCutter
from engineroom.openai.validation import invalid
from engineroom.server import FanOutProxy, ServerEngine, StreamedProxy

from .requests import PATHS, STOPS_HERE

Native: TypeAlias = Callable[[str, Mapping[str, Any]], dict[str, Any]]
"""Makes a request in Ollama's words of OpenAI's route and a prepared request."""

_LISTS = frozenset(route.path for route in MODELS)


class OllamaProxy(FanOutProxy, StreamedProxy):
    """Speaks Ollama's own API with the server, and OpenAI's with clients."""

    def __init__(self, engine: ServerEngine, native: Native) -> None:
        super().__init__(engine)
        self._ollama = engine
        self._native = native

    def path(self, scope: Scope) -> str:
        path: str = scope["path"]
        return PATHS.get(path, path)

    async def open(self, scope: Scope, body: bytes) -> RelayableResponse:
        path = scope["path"]
        if path not in PATHS:
            return await super().open(scope, body)
        json = msgspec.json.decode(body)
        response = await super().open(scope, msgspec.json.encode(self._native(path, json)))
        if path not in TEXT_ROUTES or response.status != 200:
            return response
        return EventStream(response, Translator(path, json), self._ollama, self._native)

    async def answer(self, scope: Scope, request: Request, response: RelayableResponse, send: Send) -> None:
        if scope["path"] != EMBEDDINGS or response.status != 200:
            await super().answer(scope, request, response, send)
            return
        whole = as_vectors(request.json or {}, msgspec.json.decode(await response.read()))
        await send_body(send, 200, msgspec.json.encode(whole), b"application/json")

    async def rewrite(self, path: str, body: bytes) -> bytes:
        """The list of models, without those that are in Ollama's folder and not served."""
        if path not in _LISTS:
            return body
        listed = msgspec.json.decode(body)
        served = [model for model in listed["data"] or () if model["id"] in self._ollama.models]
        return msgspec.json.encode({**listed, "data": served})


class EventStream:
    """A response of Ollama's, read as the event stream that OpenAI's API has in its place."""

    status = 200
    content_type = "text/event-stream"
    headers: Mapping[str, str] = {"content-type": content_type}

    def __init__(
        self, response: RelayableResponse, translator: Translator, engine: ServerEngine, native: Native
    ) -> None:
        self._native = native
        self._response = response
        self._translator = translator
        self._engine = engine
        self._rest = b""
        self._ended = False

    @property
    def complete(self) -> bool:
        return self._ended

    async def __aenter__(self) -> EventStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        # A connection that is not read to its end is closed, at which Ollama ends the generation.
        self._response.close()

    async def read(self, limit: int | None = None) -> bytes:
        events = b""
        while (limit is None or len(events) < limit) and (more := await self.read_available()):
            events += more
        return events[:limit]

    async def pieces(self) -> AsyncIterator[bytes]:
        while events := await self.read_available():
            yield events

    async def relay(self, sink: Sink) -> None:
        while events := await self.read_available():
            sending = sink(events, self._ended)
            if sending is not None:
                await sending

    async def read_available(self) -> bytes:
        """The next events; empty behind the last. Raises APIError where Ollama fails amid its answer."""
        events = b""
        while not events and not self._ended:
            chunk = await self._response.read_available()
            *lines, self._rest = (self._rest + (chunk or b"\n")).split(b"\n")
            for line in filter(None, lines):
                answer = decode_event(line)
                if "error" in answer:
                    raise self._engine.normalise_error(500, line)
                events += self._translator.events(answer)
                if self._translator.stopped:
                    self._translator.done = await self._counted("stop")
                    chunk = b""
                    break
            if not chunk:
                self._ended = True
                # Ollama breaks off a model that repeats one token for ever, and says nothing of it.
                self._translator.done = self._translator.done or await self._counted("length")
                events += self._translator.last_events()
        return events

    async def _counted(self, reason: str) -> Mapping[str, Any]:
        """What the last line would be of an answer that has none: its tokens are counted by its lines, and the prompt's
        by a request for one token, which finds the prompt in Ollama's cache."""
        self._response.close()
        translator = self._translator
        least = self._native(translator.path, {**translator.json, "max_tokens": 1})
        counts = await self._engine.upstream.ask(PATHS[translator.path], {**least, "stream": False}) or {}
        return {**counts, "done_reason": reason, "eval_count": translator.lines}


class Translator:
    """One answer, line by line.

    Args:
        path: OpenAI's.
        json: the request in OpenAI's words.

    done: Ollama's last line. lines: all that it has sent, each a token as a rule.
    """

    def __init__(self, path: str, json: Mapping[str, Any]) -> None:
        self.path = path
        self.json = json
        self.done: Mapping[str, Any] = {}
        self.lines = 0
        self._chat = chat = path == CHAT_COMPLETIONS
        self._cutter = TextCutter(json["stop"]) if STOPS_HERE in json else None
        self._tells_usage = not json.get("stream") or wants_usage_event(json)
        prefix, kind = ("chatcmpl", "chat.completion.chunk") if chat else ("cmpl", "text_completion")
        self._envelope = Envelope(prefix, kind, json["model"], null_usage=wants_usage_event(json))
        self._calls = 0
        self._length = 0

    @property
    def stopped(self) -> bool:
        """Whether a stop string that Ollama does not know of has come. It is shown: the core cuts there."""
        return self._cutter is not None and self._cutter.stopped

    def events(self, answer: Mapping[str, Any]) -> bytes:
        """What a line becomes; nothing for one that says nothing."""
        self.lines += 1
        if answer.get("done"):
            self.done = answer
        piece = self._delta(answer.get("message") or {}) if self._chat else {"text": answer.get("response", "")}
        if answer.get("logprobs"):
            piece["logprobs"] = self._logprobs(answer["logprobs"])
        return self._envelope.event({"index": 0, **piece, "finish_reason": None}) if any(piece.values()) else b""

    def last_events(self) -> bytes:
        """Why it ended, and its tokens."""
        reason = self.done.get("done_reason") or "length"
        if self._calls and reason == "stop":
            reason = "tool_calls"
        empty: dict[str, Any] = {"delta": {}} if self._chat else {"text": ""}
        events = self._envelope.event({"index": 0, **empty, "finish_reason": reason})
        if self._tells_usage:
            prompt, completion = (self.done.get(name, 0) for name in ("prompt_eval_count", "eval_count"))
            usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
            events += self._envelope.usage_event(usage)
        return events + sse.DONE

    def _delta(self, message: Mapping[str, Any]) -> dict[str, Any]:
        texts = {"content": message.get("content"), "reasoning_content": message.get("thinking")}
        delta: dict[str, Any] = {name: text for name, text in texts.items() if text}
        if self._cutter is not None:
            self._cutter.feed(delta.get("content", "").encode())
        for call in message.get("tool_calls") or ():
            arguments = msgspec.json.encode(call["function"].get("arguments") or {}).decode()
            function = {"name": call["function"]["name"], "arguments": arguments}
            numbered = {"index": self._calls, "id": call.get("id") or new_id("call"), "type": "function"}
            delta.setdefault("tool_calls", []).append({**numbered, "function": function})
            self._calls += 1
        return {"delta": delta}

    def _logprobs(self, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        tokens = []
        for entry in entries:
            top = [(other["token"].encode(), other["logprob"]) for other in entry.get("top_logprobs") or ()]
            tokens.append((Token(entry["token"].encode(), logprob=entry["logprob"], top=top), self._length))
            self._length += len(entry["token"])
        return {"content": logprobs.chat(tokens)} if self._chat else logprobs.completion(tokens, 0)


def as_vectors(json: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a request for embeddings. Raises APIError for more dimensions than there are."""
    vectors = answer["embeddings"]
    dimensions = json.get("dimensions") or len(vectors[0])
    if dimensions > len(vectors[0]):
        message = f"Invalid 'dimensions': this model's vectors have {len(vectors[0])}, but got {dimensions}."
        raise invalid(message, "dimensions", "integer_above_max_value")
    if json.get("encoding_format") == "base64":
        vectors = [base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() for vector in vectors]
    tokens = answer.get("prompt_eval_count", 0)
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": each} for index, each in enumerate(vectors)],
        "model": json.get("model"),
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
