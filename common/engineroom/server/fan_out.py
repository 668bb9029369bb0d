"""A proxy that asks for each choice on its own, and ends it at its stop strings: for servers that do neither."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from ..asgi.types import Receive, Scope, Send
from ..openai.body import checked_request
from ..openai.event_stream import ResponseWriter, decode_event, read_events, wants_usage_event
from ..openai.routes import COMPLETIONS, TEXT_ROUTES
from ..openai.schemas import MAX_CHOICES
from ..openai.stop_strings import RETURN_STOP_REASON, TextCutter
from ..openai.usage import ChoicesUsage
from ..openai.validation import invalid
from .proxy import Proxy


class FanOutProxy(Proxy):
    """`n` choices, and several prompts of a completion, become a request each, all at once; their answers are merged.

    Each part is streamed from the server, so that the answer comes as it is generated, or whole where the client wants
    that; the first part that fails ends them all. No stop string is shown in a stream, also where the server does
    show it. Every other request is passed on as by `Proxy`.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = checked_request(scope)
        path = scope["path"]
        json = request.json
        if json is None or not _concerned(path, json):
            await super().__call__(scope, receive, send)
            return
        json = self._engine.prepare(path, json) or json
        parts = split(path, json)
        merged = _MergedResponse(path, json, send)
        tasks = [asyncio.ensure_future(self._part(scope, index, part, merged)) for index, part in enumerate(parts)]
        try:
            await asyncio.gather(*tasks)
            await merged.close()
        except (ConnectionError, asyncio.TimeoutError) as error:
            raise await self._engine.lost(error) from error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _part(self, scope: Scope, index: int, part: Mapping[str, Any], merged: _MergedResponse) -> None:
        """Raises APIError where the server refuses the part, or ends it before it is complete."""
        async with await self.open(scope, msgspec.json.encode(part)) as response:
            if response.status >= 400:
                raise self._engine.normalise_error(response.status, await response.read())
            async for batch in read_events(response.pieces(), scope["path"], self._engine.normalise_error):
                for data in batch:
                    await merged.add(index, decode_event(data))


def split(path: str, json: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A streamed request for each choice, those of one prompt side by side; a seed counts on from choice to choice.

    Raises:
        APIError: 400 where there would be too many.
    """
    n = json.get("n") or 1
    prompts = _prompts(path, json)
    if n * len(prompts) > MAX_CHOICES:
        raise invalid(f"'n' times the number of prompts must not exceed {MAX_CHOICES}.", "n", "integer_above_max_value")
    common = {name: value for name, value in json.items() if name not in ("n", "best_of", RETURN_STOP_REASON)}
    common |= {"stream": True, "stream_options": {"include_usage": True}}
    return [
        {**common, **prompt, **({"seed": json["seed"] + choice} if json.get("seed") is not None else {})}
        for prompt in prompts
        for choice in range(n)
    ]


def _concerned(path: str, json: Mapping[str, Any]) -> bool:
    """Whether a request asks for more than one choice, or for what a server that shows its stop strings has not."""
    if path not in TEXT_ROUTES:
        return False
    n = json.get("n")
    shown = path == COMPLETIONS or json.get("stream") or json.get(RETURN_STOP_REASON)
    stops = bool(shown and json.get("stop"))
    return stops or (isinstance(n, int) and n > 1) or len(_prompts(path, json)) > 1


def _prompts(path: str, json: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What each prompt's part has of its own: its prompt where there is a list of them, which numbers are not."""
    prompt = json.get("prompt")
    if path == COMPLETIONS and isinstance(prompt, list) and not any(isinstance(item, int) for item in prompt):
        return [{"prompt": item} for item in prompt]
    return [{}]


class _MergedResponse:
    """The parts' events as those of one response."""

    def __init__(self, path: str, json: Mapping[str, Any], send: Send) -> None:
        self._writer = ResponseWriter(path, json, send)
        self._tells_usage = not json.get("stream") or wants_usage_event(json)
        self._usage = ChoicesUsage(json.get("n") or 1)
        self._tells_stop = bool(json.get(RETURN_STOP_REASON))
        stop = json.get("stop") or ()
        self._stops = [text for text in ([stop] if isinstance(stop, str) else stop) if text]
        self._cutters: dict[int, TextCutter] = {}
        self._head: dict[str, Any] = {}
        self._sending = asyncio.Lock()

    async def add(self, index: int, event: dict[str, Any]) -> None:
        """Take in an event of one part; returns once the client may be sent the next."""
        choices = event.pop("choices", None)
        usage = event.pop("usage", None)
        if usage:
            self._usage.add(usage, index)
        self._head = self._head or event
        if not choices:
            return
        choices = [self._cut(index, {**choice, "index": index}) for choice in choices]
        async with self._sending:
            await self._writer.write([{**event, **self._head, "choices": choices}])

    def _cut(self, index: int, choice: dict[str, Any]) -> dict[str, Any]:
        """The choice with its text ended where a stop string begins."""
        name, holder = ("content", choice["delta"]) if "delta" in choice else ("text", choice)
        if self._stops and (holder.get(name) or choice.get("finish_reason")):
            cutter = self._cutters.setdefault(index, TextCutter(self._stops))
            text = "" if cutter.stopped else cutter.feed((holder.get(name) or "").encode())
            holder[name] = text + ("" if cutter.stopped or not choice.get("finish_reason") else cutter.finish())
            if self._tells_stop and choice.get("finish_reason"):
                choice["stop_reason"] = cutter.stop
        return choice

    async def close(self) -> None:
        """All parts are whole: send the response, or the end of the stream."""
        if self._tells_usage:
            await self._writer.write([{**self._head, "choices": [], "usage": self._usage.total}])
        await self._writer.close()
