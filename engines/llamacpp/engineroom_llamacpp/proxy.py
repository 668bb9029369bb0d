"""The proxy to llama.cpp, which answers everything that generates as a stream; see `requests` for why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from engineroom.asgi import Scope, Send, send_body
from engineroom.openai import sse
from engineroom.server import Proxy

from . import answers, forced, whole
from .requests import CHAT, COMPLETIONS, EMBEDDINGS, GENERATING

if TYPE_CHECKING:
    import aiohttp

    from engineroom.openai.body import Request


class LlamaCppProxy(Proxy):
    """Puts streams together for clients that want the whole, and rewrites only the events that deviate."""

    async def answer(self, scope: Scope, request: Request, response: aiohttp.ClientResponse, send: Send) -> None:
        path, json = scope["path"], request.json
        if response.status >= 400 or path not in GENERATING or json is None:
            await super().answer(scope, request, response, send)
            return
        demanded = path == CHAT and bool(json.get("tools")) and forced.is_forced(json.get("tool_choice"))
        if not json.get("stream"):
            gathered = whole.of_route(path, json, demanded=demanded)
            await _collect(response, gathered)
            await send_body(send, 200, msgspec.json.encode(gathered.body()), b"application/json")
        elif demanded:
            await _send_at_once(json, response, send)
        elif _deviates(path, json):
            await _rewritten(path, json, response, send)
        else:
            await self.stream(scope, response, "text/event-stream", send)

    async def rewrite(self, path: str, body: bytes) -> bytes:
        if path != EMBEDDINGS:
            return body
        answer = msgspec.json.decode(body)
        # OpenAI's embeddings carry a usage without completion tokens, and nothing of the engine's own.
        usage = answer.get("usage") or {}
        answer["usage"] = {name: usage.get(name, 0) for name in ("prompt_tokens", "total_tokens")}
        return msgspec.json.encode(answer)


def _deviates(path: str, json: dict[str, Any]) -> bool:
    """Whether a stream's events need rewriting; a plain chat's are passed on as bytes."""
    if path not in (CHAT, COMPLETIONS):
        return False
    usage = (json.get("stream_options") or {}).get("include_usage")
    return path == COMPLETIONS or bool(usage and (json.get("n") or 1) > 1) or bool(json.get("logprobs"))


async def _collect(response: aiohttp.ClientResponse, gathered: Any) -> None:
    parser = sse.EventParser()
    async for chunk in response.content.iter_any():
        for data in parser.feed(chunk):
            gathered.add(bytes(data))


async def _start(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": list(sse.HEADERS)})


async def _send_at_once(json: dict[str, Any], response: aiohttp.ClientResponse, send: Send) -> None:
    """A demanded tool call can be told from its text only once that is whole."""
    gathered = whole.Whole(CHAT, json, demanded=True)
    await _collect(response, gathered)
    events = gathered.events(bool((json.get("stream_options") or {}).get("include_usage")))
    await _start(send)
    await send({"type": "http.response.body", "body": b"".join(map(sse.encode, events))})


async def _rewritten(path: str, json: dict[str, Any], response: aiohttp.ClientResponse, send: Send) -> None:
    events, parser, done = answers.Events(path, json), sse.EventParser(), False
    await _start(send)
    async for chunk in response.content.iter_any():
        out = b""
        for data in map(bytes, parser.feed(chunk)):
            done = data == b"[DONE]"
            last = events.usage_event() if done else []
            out += b"".join(map(sse.encode, [*last, *events.rewrite(data)]))
        if out:
            await send({"type": "http.response.body", "body": out, "more_body": True})
    if not done:
        raise whole.cut_off()
    await send({"type": "http.response.body", "body": b""})
