"""A proxy that asks for each choice on its own, and ends it at its stop strings: for servers that do neither."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec

from ..asgi.types import Receive, Scope, Send, send_body
from ..errors import APIError
from ..openai import sse
from ..openai.aggregate import Aggregator
from ..openai.body import checked_request
from ..openai.schemas import MAX_CHOICES
from ..openai.stop_strings import TextCutter
from ..openai.usage import ChoicesUsage
from ..openai.validation import invalid
from .proxy import Proxy

_CHAT, _COMPLETIONS = "/v1/chat/completions", "/v1/completions"


class FanOutProxy(Proxy):
    """`n` choices, and several prompts of a completion, become a request each, all at once; their answers are merged.

    Each part is streamed from the server, so that the answer comes as it is generated, or whole where the client wants
    that; the first part that fails ends them all. No stop string is shown in a stream, also where the server does
    show it. Every other request is passed on as by `Proxy`.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = checked_request(scope)
        path, json = scope["path"], request.json
        if json is None or not _concerned(path, json):
            await super().__call__(scope, receive, send)
            return
        json = self._engine.prepare(path, json) or json
        parts = split(path, json)
        merged = _Merged(json, send)
        tasks = [asyncio.ensure_future(self._part(scope, index, part, merged)) for index, part in enumerate(parts)]
        try:
            await asyncio.gather(*tasks)
            await merged.finish()
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            raise await self._engine.lost(error) from error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _part(self, scope: Scope, index: int, part: Mapping[str, Any], merged: _Merged) -> None:
        """Raises APIError where the server refuses the part, or ends it before it is complete."""
        parser, done = sse.EventParser(), False
        async with await self.open(scope, msgspec.json.encode(part)) as response:
            if response.status >= 400:
                raise self._engine.normalise_error(response.status, await response.read())
            async for chunk in response.content.iter_any():
                for data in parser.feed(chunk):
                    done = data == b"[DONE]"
                    if not done:
                        await merged.take(index, self._event(data))
        if not done:
            raise APIError("The engine ended the stream before it was complete.", status=502, code="engine_error")

    def _event(self, data: bytes) -> dict[str, Any]:
        event: dict[str, Any] = msgspec.json.decode(data)
        if "error" in event:
            raise self._engine.normalise_error(500, data)
        return event


def split(path: str, json: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A streamed request for each choice, those of one prompt side by side; a seed counts on from choice to choice.

    Raises:
        APIError: 400 where there would be too many.
    """
    n, prompts = json.get("n") or 1, _prompts(path, json)
    if n * len(prompts) > MAX_CHOICES:
        raise invalid(f"'n' times the prompts must not be above {MAX_CHOICES}.", "n", "integer_above_max_value")
    common = {name: value for name, value in json.items() if name not in ("n", "best_of")}
    common |= {"stream": True, "stream_options": {"include_usage": True}}
    return [
        {**common, **prompt, **({"seed": json["seed"] + choice} if json.get("seed") is not None else {})}
        for prompt in prompts
        for choice in range(n)
    ]


def _concerned(path: str, json: Mapping[str, Any]) -> bool:
    """Whether a request asks for more than one choice, or for a stream with a stop string."""
    if path not in (_CHAT, _COMPLETIONS):
        return False
    n, stops = json.get("n"), bool(json.get("stream") and json.get("stop"))
    return stops or (isinstance(n, int) and n > 1) or len(_prompts(path, json)) > 1


def _prompts(path: str, json: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What each prompt's part has of its own: its prompt where there is a list of them, which numbers are not."""
    prompt = json.get("prompt")
    if path == _COMPLETIONS and isinstance(prompt, list) and not any(isinstance(item, int) for item in prompt):
        return [{"prompt": item} for item in prompt]
    return [{}]


class _Merged:
    """The parts' answers as one, streamed or whole, as `json` asks for."""

    def __init__(self, json: Mapping[str, Any], send: Send) -> None:
        self._send = send
        self._whole = None if json.get("stream") else Aggregator()
        self._wants_usage = bool((json.get("stream_options") or {}).get("include_usage"))
        self._usage = ChoicesUsage(json.get("n") or 1)
        stop = json.get("stop") or ()
        self._stops = [text for text in ([stop] if isinstance(stop, str) else stop) if text]
        self._cutters: dict[int, TextCutter] = {}
        self._head: dict[str, Any] = {}
        self._sending = asyncio.Lock()
        self._started = False

    async def take(self, index: int, event: dict[str, Any]) -> None:
        """Take in an event of one part; returns once the client may be sent the next."""
        choices, usage = event.pop("choices", None), event.pop("usage", None)
        if usage:
            self._usage.add(usage, index)
        self._head = self._head or event
        if not choices:
            return
        choices = [self._cut(index, {**choice, "index": index}) for choice in choices]
        merged = {**event, **self._head, "choices": choices}
        if self._whole is not None:
            self._whole.add(merged)
        else:
            await self._event(msgspec.json.encode(merged))

    def _cut(self, index: int, choice: dict[str, Any]) -> dict[str, Any]:
        """The choice with its text ended where a stop string begins."""
        name, holder = ("content", choice["delta"]) if "delta" in choice else ("text", choice)
        if self._stops and (holder.get(name) or choice.get("finish_reason")):
            cutter = self._cutters.setdefault(index, TextCutter(self._stops))
            text = "" if cutter.stopped else cutter.feed((holder.get(name) or "").encode())
            holder[name] = text + ("" if cutter.stopped or not choice.get("finish_reason") else cutter.finish())
        return choice

    async def _event(self, data: bytes, *, more: bool = True) -> None:
        async with self._sending:
            if not self._started:
                self._started = True
                await self._send({"type": "http.response.start", "status": 200, "headers": list(sse.HEADERS)})
            await self._send({"type": "http.response.body", "body": sse.encode(data), "more_body": more})

    async def finish(self) -> None:
        """All parts are whole: send the answer, or the end of the stream."""
        if self._whole is not None:
            body = msgspec.json.encode({**self._whole.answer(), "usage": self._usage.total})
            await send_body(self._send, 200, body, b"application/json")
            return
        if self._wants_usage:
            await self._event(msgspec.json.encode({**self._head, "choices": [], "usage": self._usage.total}))
        await self._event(b"[DONE]", more=False)
