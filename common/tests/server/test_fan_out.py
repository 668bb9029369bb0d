"""FanOutProxy over a stand-in server on a real socket, which answers one prompt with one choice a request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from engineroom.asgi import ASGIApp, Receive, Scope, Send, request
from engineroom.engine import Health
from engineroom.errors import APIError
from engineroom.openai.body import read_request
from engineroom.openai.sse import payloads
from engineroom.openai.upstream_errors import from_upstream
from engineroom.server import Address, FanOutProxy, Upstream
from engineroom.server.fan_out import split

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"


class StandinServer:
    """Answers with its prompt and seed. A seed of 13 is refused, one of 14 cut off, 15 fails amid its stream, and 16 is
    refused in a stream's first event."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.running = 0
        self.hold = asyncio.Event()
        self.hold.set()

    async def answer(self, call: web.Request) -> web.StreamResponse:
        body = await call.json()
        self.seen.append(body)
        if body.get("seed") == 13:
            return web.json_response({"error": {"message": "no luck", "code": "400"}}, status=400)
        chat = call.path == CHAT
        kind = "chat.completion.chunk" if chat else "text_completion"
        usage = {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": None}}
        if not body.get("stream"):
            return web.json_response({"object": "whole", "choices": [{"index": 0}]})
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(call)
        if body.get("seed") == 16:
            await self._write(answer, {"error": {"message": "bad luck", "code": body.get("code", 400)}})
            await answer.write(b"data: [DONE]\n\n")
            return answer
        self.running += 1
        try:
            words = body.get("words") or [f"{body.get('prompt', 'chat')} ", str(body.get("seed"))]
            for i, word in enumerate(words):
                content = {"delta": {"content": word}} if chat else {"text": word}
                choice = {"index": 0, **content, "finish_reason": "stop" if i == len(words) - 1 else None}
                await self._write(answer, {"id": f"id{len(self.seen)}", "object": kind, "choices": [choice]})
                if body.get("seed") == 14:
                    return answer
                if body.get("seed") == 15:
                    await self._write(answer, {"error": {"message": "it broke", "code": 500}})
                await self.hold.wait()
            await self._write(answer, {"id": "x", "object": kind, "choices": [], "usage": usage})
            await answer.write(b"data: [DONE]\n\n")
        finally:
            self.running -= 1
        return answer

    async def _write(self, answer: web.StreamResponse, event: object) -> None:
        await answer.write(f"data: {json.dumps(event)}\n\n".encode())


class Engine:
    """What the proxy needs to know of an engine."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream

    def prepare(self, path: str, json: dict[str, Any]) -> dict[str, Any]:
        return {**json, "prepared": True}

    def normalise_error(self, status: int, body: bytes) -> APIError:
        return from_upstream(status, body)

    def health(self) -> Health:
        return Health(live=True, ready=True, reason="ready")

    async def lost(self, error: Exception) -> APIError:
        return APIError("gone", status=502)


@pytest.fixture
async def server() -> StandinServer:
    return StandinServer()


@pytest.fixture
async def app(server: StandinServer) -> AsyncIterator[ASGIApp]:
    routes = web.Application()
    routes.router.add_post("/{path:.*}", server.answer)
    runner = web.AppRunner(routes, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    upstream = Upstream.at(Address(None, runner.addresses[0][1]), {}, 4)
    proxy = FanOutProxy(Engine(upstream))

    async def behind_the_gateway(scope: Scope, receive: Receive, send: Send) -> None:
        await read_request(scope, receive, 10_000)
        await proxy(scope, receive, send)

    yield behind_the_gateway
    server.hold.set()
    await upstream.close()
    await runner.cleanup()


@asynccontextmanager
async def asked(app: ASGIApp, path: str, **body: object) -> AsyncIterator[Any]:
    async with request(app, "POST", path, body=json.dumps(body).encode()) as answer:
        yield answer


def events(body: bytes) -> Iterator[dict[str, Any]]:
    *chunks, done = payloads(body)
    assert done == b"[DONE]"
    yield from map(json.loads, chunks)


async def test_several_choices_whole(app: ASGIApp, server: StandinServer) -> None:
    async with asked(app, CHAT, n=3, seed=1) as answer:
        body = json.loads(await answer.read())
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    assert [choice["message"]["content"] for choice in body["choices"]] == ["chat 1", "chat 2", "chat 3"]
    assert {choice["finish_reason"] for choice in body["choices"]} == {"stop"}
    assert body["object"] == "chat.completion"
    assert body["usage"] | {"prompt_tokens_details": 0} == {
        "prompt_tokens": 5,
        "completion_tokens": 6,
        "total_tokens": 11,
        "prompt_tokens_details": 0,
    }
    assert all(part["prepared"] and "n" not in part for part in server.seen)


async def test_several_choices_streamed_under_one_id(app: ASGIApp) -> None:
    async with asked(app, CHAT, n=2, seed=1, stream=True, stream_options={"include_usage": True}) as answer:
        *chunks, last = events(await answer.read())
    assert answer.headers["content-type"].startswith("text/event-stream")
    texts = {0: "", 1: ""}
    for chunk in chunks:
        texts[chunk["choices"][0]["index"]] += chunk["choices"][0]["delta"]["content"]
    assert texts == {0: "chat 1", 1: "chat 2"}
    assert len({chunk["id"] for chunk in (*chunks, last)}) == 1
    assert (last["choices"], last["usage"]["completion_tokens"]) == ([], 4)


async def test_usage_is_streamed_only_where_asked_for(app: ASGIApp) -> None:
    async with asked(app, CHAT, n=2, stream=True) as answer:
        assert all(chunk["choices"] and "usage" not in chunk for chunk in events(await answer.read()))


@pytest.mark.parametrize("stream", [False, True])
async def test_every_prompt_has_its_choices_side_by_side(app: ASGIApp, stream: bool) -> None:
    async with asked(app, COMPLETIONS, prompt=["a", [7, 8]], n=2, stream=stream) as answer:
        body = await answer.read()
    if stream:
        texts = dict.fromkeys(range(4), "")
        for event in events(body):
            texts[event["choices"][0]["index"]] += event["choices"][0]["text"]
    else:
        texts = {choice["index"]: choice["text"] for choice in json.loads(body)["choices"]}
        assert json.loads(body)["usage"]["prompt_tokens"] == 10
    assert texts == {0: "a None", 1: "a None", 2: "[7, 8] None", 3: "[7, 8] None"}


@pytest.mark.parametrize("body", [{"n": 1}, {"prompt": ["a"]}, {"prompt": [1, 2, 3]}, {"n": "two"}, {"prompt": []}])
async def test_one_choice_is_passed_on_as_it_is(app: ASGIApp, server: StandinServer, body: dict[str, Any]) -> None:
    async with asked(app, COMPLETIONS, **body) as answer:
        assert json.loads(await answer.read())["object"] == "whole"
    assert server.seen == [{**body, "prepared": True}]


@pytest.mark.parametrize(("code", "status"), [(400, 400), ("404", 404), ("broken", 500), (None, 500)])
async def test_a_refusal_in_the_first_event_is_one_with_a_status(app: ASGIApp, code: object, status: int) -> None:
    with pytest.raises(APIError, match="bad luck") as refused:
        async with asked(app, CHAT, stream=True, seed=16, code=code):
            pass
    assert refused.value.status == status


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refused_part_refuses_the_request(app: ASGIApp, server: StandinServer, stream: bool) -> None:
    server.hold.clear()
    with pytest.raises(APIError, match="no luck") as refused:
        async with asked(app, CHAT, n=3, seed=12, stream=stream) as answer:
            await answer.read()
    assert (refused.value.status, refused.value.code) == (400, None)
    await until_idle(server)


@pytest.mark.parametrize(("seed", "message"), [(14, "before it was complete"), (15, "it broke")])
async def test_a_part_that_fails_ends_them_all(app: ASGIApp, server: StandinServer, seed: int, message: str) -> None:
    server.hold.clear()
    with pytest.raises(APIError, match=message) as failed:
        async with asked(app, CHAT, n=2, seed=seed, stream=True) as answer:
            await answer.read()
    assert failed.value.status >= 500
    await until_idle(server)


async def test_leaving_ends_every_part(app: ASGIApp, server: StandinServer) -> None:
    server.hold.clear()
    async with asked(app, CHAT, n=4, stream=True) as answer:
        await answer.__aiter__().__anext__()
    await until_idle(server)


async def until_idle(server: StandinServer) -> None:
    for _ in range(3000):
        if not server.running:
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"{server.running} parts are left running")


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
@pytest.mark.parametrize(
    ("stop", "expected"),
    [("END", "one two"), (["x", " two"], "one"), ("never", "one twoENDthree EN"), (["EN"], "one two"), ([], None)],
)
async def test_a_stop_string_is_not_shown(app: ASGIApp, path: str, stop: object, expected: str | None) -> None:
    """The stand-in, as one engine does, streams on through it."""
    words = ["one", " two", "E", "NDthr", "ee EN"]
    for n in (1, 2):
        async with asked(app, path, words=words, stop=stop, stream=True, n=n) as answer:
            body = await answer.read()
        if expected is None:
            continue
        texts = dict.fromkeys(range(n), "")
        for choice in (choice for event in events(body) for choice in event["choices"]):
            texts[choice["index"]] += choice["delta"]["content"] if path == CHAT else choice["text"]
        assert texts == dict.fromkeys(range(n), expected)
    for n in (2,) if path == CHAT else (1, 2):
        async with asked(app, path, words=words, stop=stop, n=n) as answer:
            whole = json.loads(await answer.read())["choices"][-1]
        assert expected is None or (whole["message"]["content"] if path == CHAT else whole["text"]) == expected


def test_too_many_choices_are_refused() -> None:
    with pytest.raises(APIError, match="2048"):
        split(COMPLETIONS, {"prompt": ["x"] * 1000, "n": 3})


@pytest.mark.parametrize("stream", [False, True])
async def test_which_stop_string_ended_it_is_told_where_it_is_asked(
    app: ASGIApp, server: StandinServer, stream: bool
) -> None:
    fields = {"words": ["one ", "two ", "three"], "stop": ["x", "two"], "return_stop_reason": True, "stream": stream}
    async with asked(app, CHAT, **fields) as answer:
        body = await answer.read()
    events = [json.loads(data) for data in payloads(body) if data != b"[DONE]"] if stream else [json.loads(body)]
    reasons = [choice["stop_reason"] for event in events for choice in event["choices"] if "stop_reason" in choice]
    assert reasons == ["two"]
    assert "return_stop_reason" not in server.seen[-1], "no server knows it"
