"""A chat's app that is told what to answer, behind the gateway, and what it was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from engineroom.asgi import Receive, Scope, Send, request, send_body
from engineroom.engine import ASSUMED, CHAT, Capabilities, Engine, Health, Route
from engineroom.errors import APIError
from engineroom.openai.body import checked_request
from engineroom.openai.gateway import Gateway
from engineroom.openai.sse import DONE, HEADERS, encode, payloads

ALL = Capabilities(
    surfaces=frozenset({"chat"}), tools="forced", logprobs=True, several_choices=True, json_schema=True, images=True
)
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10, "prompt_tokens_details": {"cached_tokens": 2}}


def chunk(delta: Mapping[str, Any], finish_reason: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": dict(delta), "finish_reason": finish_reason, **more}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def said(text: str = "Hello.") -> list[dict[str, Any]]:
    return [chunk({"role": "assistant", "content": ""}), chunk({"content": text}), chunk({}, "stop"), usage()]


def usage() -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [], "usage": USAGE}


class ChatDouble(Engine):
    """An engine whose chat streams the chunks that it was given, or fails where an error stands among them."""

    name = "double"
    sampling_params = frozenset({"top_k", "chat_template_kwargs", "continue_final_message"})
    capabilities = ALL

    def __init__(self, answer: Sequence[dict[str, Any] | APIError] | dict[str, Any] = ()) -> None:
        self.answer = answer
        self.asked: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.app = Gateway(self, self._serve)

    @property
    def models(self) -> tuple[str, ...]:
        return ("m",)

    @property
    def routes(self) -> frozenset[Route]:
        return frozenset({CHAT})

    def health(self) -> Health:
        return Health(live=True, ready=True, reason="ready")

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def died(self) -> str:
        return ""

    @classmethod
    def settings(cls, env: Any) -> tuple[Any, ...]:
        return ()

    @classmethod
    def configure(cls, worker: Any, env: Any) -> Any:
        raise NotImplementedError

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.paths.append(scope["path"])
        json = checked_request(scope).json
        assert json is not None
        self.asked.append(json)
        if isinstance(self.answer, dict):
            await send_body(send, 200, msgspec.json.encode(self.answer), b"application/json")
            return
        for number, event in enumerate(self.answer or said()):
            if isinstance(event, APIError):
                raise event
            if not number:
                await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            await send({"type": "http.response.body", "body": encode(msgspec.json.encode(event)), "more_body": True})
        await send({"type": "http.response.body", "body": DONE})

    async def ask(self, path: str, **body: Any) -> tuple[int, Any]:
        """Status and decoded response; of a stream the events."""
        async with request(self.app, "POST", path, json={"model": "m", **body}) as response:
            content = await response.read()
            if response.headers["content-type"].startswith("text/event-stream"):
                return response.status, [msgspec.json.decode(data) for data in payloads(content)]
            return response.status, msgspec.json.decode(content)


class ElsewhereDouble(ChatDouble):
    """One whose server is elsewhere, and has the routes that it is given."""

    capabilities = ASSUMED

    def __init__(self, has: Sequence[str]) -> None:
        super().__init__()
        self.has = [CHAT.path, *has]

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] not in self.has:
            self.paths.append(scope["path"])
            raise APIError("Not Found", status=404)
        if scope["path"] != CHAT.path:
            self.paths.append(scope["path"])
            await send_body(send, 200, b'{"its": "own"}', b"application/json")
            return
        await super()._serve(scope, receive, send)
