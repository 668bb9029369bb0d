"""The load generator's client over real sockets: what it counts, what it times, and what it calls a failure."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from certificates import Pair
from standin_chat import Handle, StandinChat, StandinExchange, delta, event_bytes, paced

from engineroom_operations.load.failure import FailureKind
from engineroom_operations.load.http_client import HTTPClient
from engineroom_operations.load.measurement import Measurement
from engineroom_operations.load.sender import Ask, OpenAISender, Surface

pytestmark = pytest.mark.anyio

HELLO = {"messages": [{"role": "user", "content": "hello there"}], "max_tokens": 5}


async def ask(
    handle: Handle | None = None, body: dict[str, Any] = HELLO, surface: Surface = "chat", **options: Any
) -> tuple[Measurement, StandinExchange]:
    """What a client sees of one request, and what the server saw of it."""
    async with StandinChat(handle) as server:
        sender = OpenAISender(HTTPClient(f"{server.url}/v1", {"x-extra": "yes"}), "m", **options)
        measurement = Measurement(time.perf_counter())
        await sender.send(Ask(surface, body), measurement)
        await sender.close()
        return measurement, server.requests[0]


async def test_a_stream_is_counted_by_the_server_s_usage_and_its_gaps_by_arrival() -> None:
    gaps: list[float] = []
    texts: list[str] = []
    async with StandinChat(paced(0.03, 0.02)) as server:
        sender = OpenAISender(HTTPClient(f"{server.url}/v1"), "m")
        measurement = Measurement(time.perf_counter(), gaps.append, texts.append)
        await sender.send(Ask("chat", HELLO), measurement)
        await sender.close()
    assert measurement.succeeded, measurement.failure
    assert (measurement.prompt_tokens, measurement.completion_tokens, measurement.tokens) == (5, 5, 5)
    assert (measurement.events, measurement.finish_reason, texts) == (5, "length", [" word"] * 5)
    assert len(gaps) == 4
    assert sum(gaps) == pytest.approx(measurement.last - measurement.first)
    # A server's own waits are the least that can be measured.
    assert measurement.ttft_s >= 0.03
    assert measurement.end_to_end_s >= 0.03 + 4 * 0.02
    assert measurement.due <= measurement.sent < measurement.first < measurement.last <= measurement.ended


async def test_what_is_sent() -> None:
    _, request = await ask(fields={"ignore_eos": True})
    assert request.path == "/v1/chat/completions"
    assert request.headers["x-extra"] == "yes"
    assert request.body == {
        **HELLO,
        "model": "m",
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_completions_and_whole_answers() -> None:
    measurement, request = await ask(body={"prompt": "a b c", "max_tokens": 3}, surface="completions", stream=False)
    assert request.path == "/v1/completions"
    assert "stream" not in request.body
    assert (measurement.tokens, measurement.events, measurement.prompt_tokens) == (3, 1, 3)
    assert measurement.token_s is None


async def test_embeddings_have_no_tokens_but_are_no_failure() -> None:
    async def handle(exchange: StandinExchange) -> None:
        await exchange.reply(200, {"data": [{"embedding": [0.1]}], "usage": {"prompt_tokens": 9, "total_tokens": 9}})

    measurement, request = await ask(handle, {"input": "a text"}, "embeddings")
    assert measurement.succeeded, measurement.failure
    assert request.body == {"model": "m", "input": "a text"}
    assert (measurement.prompt_tokens, measurement.tokens) == (9, 1)


ANSWER = b"".join(
    [
        b": a comment\n\n",
        event_bytes({"choices": [{"delta": {"role": "assistant", "content": ""}}]}),
        event_bytes(delta("ü"), b"\r\n\r\n"),
        event_bytes({"choices": [{"delta": {"reasoning_content": "hm"}}]}),
        event_bytes({"choices": [{"delta": {"tool_calls": [{"index": 0}]}}]}),
        event_bytes(delta("", "stop")),
        event_bytes("[DONE]"),
    ]
)


@pytest.mark.parametrize("piece", [1, 7, 1000])
@pytest.mark.parametrize("chunked", [True, False])
async def test_events_may_be_cut_anywhere_and_without_usage_they_are_counted(piece: int, chunked: bool) -> None:
    async def handle(exchange: StandinExchange) -> None:
        await exchange.begin_stream(chunked)
        for start in range(0, len(ANSWER), piece):
            data = ANSWER[start : start + piece]
            await (exchange.chunk(data) if chunked else exchange.write(data))
        if chunked:
            await exchange.end_stream()
        else:
            exchange.hang_up()

    measurement, _ = await ask(handle)
    assert measurement.succeeded, measurement.failure
    assert (measurement.completion_tokens, measurement.tokens, measurement.finish_reason) == (None, 3, "stop")


async def _reply(exchange: StandinExchange, status: int, content: Any, **headers: str) -> None:
    await exchange.reply(status, content, {name.replace("_", "-"): value for name, value in headers.items()})


async def _stream(exchange: StandinExchange, *events: Any, end: bool = True) -> None:
    await exchange.begin_stream()
    for content in events:
        await exchange.event(content)
    if end:
        await exchange.end_stream()
    else:
        exchange.hang_up()


async def _silence(exchange: StandinExchange) -> None:
    await asyncio.sleep(5)


async def _no_http(exchange: StandinExchange) -> None:
    await exchange.write(b"SSH-2.0-OpenSSH_9.7\r\n")


OPENAI = {"error": {"message": "the reason"}}

FAILURES: dict[str, tuple[Callable[[StandinExchange], Awaitable[None]], FailureKind, int, str]] = {
    "no key": (lambda e: _reply(e, 401, OPENAI), "unauthorised", 401, "the reason"),
    "forbidden": (lambda e: _reply(e, 403, "no"), "unauthorised", 403, "no"),
    "no such model": (lambda e: _reply(e, 404, {"detail": "the reason"}), "not found", 404, "the reason"),
    "bad request": (lambda e: _reply(e, 422, {"message": "the reason"}), "bad request", 422, "the reason"),
    "too large": (lambda e: _reply(e, 413, ""), "too large", 413, "status 413"),
    "too many": (lambda e: _reply(e, 429, OPENAI, retry_after="7"), "rate limited", 429, "the reason"),
    "overloaded": (lambda e: _reply(e, 503, OPENAI), "overloaded", 503, "the reason"),
    "server error": (lambda e: _reply(e, 500, OPENAI), "server error", 500, "the reason"),
    "redirect": (lambda e: _reply(e, 302, "", location="https://x/"), "not the API", 302, "https://x/"),
    "a page": (lambda e: _reply(e, 200, "<html>hello"), "not the API", 200, "<html>hello"),
    "other JSON": (lambda e: _reply(e, 200, {"ok": True}), "not the API", 200, "ok"),
    "a list": (lambda e: _reply(e, 200, [1]), "not the API", 200, "[1]"),
    "garbage in the stream": (lambda e: _stream(e, "{nonsense"), "not the API", 200, "nonsense"),
    "an error in the stream": (lambda e: _stream(e, delta("a"), OPENAI), "error in the stream", 200, "the reason"),
    "no answer": (lambda e: _stream(e, delta("", "stop"), "[DONE]"), "no tokens", 200, "no text"),
    "ended early": (lambda e: _stream(e, delta("a")), "cut off", 200, "before the answer"),
    "cut off": (lambda e: _stream(e, delta("a"), end=False), "cut off", 0, "closed the connection"),
    "silence": (_silence, "timeout", 0, "within 0.2 s"),
    "no HTTP": (_no_http, "not the API", 0, "no HTTP/1.1"),
}


@pytest.mark.parametrize("case", FAILURES)
async def test_failures_by_kind(case: str) -> None:
    handle, kind, status, reason = FAILURES[case]
    measurement, _ = await ask(handle, timeout_s=0.2 if kind == "timeout" else 30)
    failure = measurement.failure
    assert failure is not None
    assert (failure.kind, failure.status) == (kind, status), failure
    assert reason in str(failure)
    assert failure.retry_after_s == (7 if status == 429 else None)
    assert measurement.ended > measurement.sent


async def test_what_arrived_before_a_failure_stays() -> None:
    measurement, _ = await ask(lambda exchange: _stream(exchange, delta("a"), delta("b"), end=False))
    assert (measurement.events, measurement.succeeded) == (2, False)


async def test_connections_are_kept_and_one_that_the_server_closed_meanwhile_is_no_failure() -> None:
    async with StandinChat() as server:
        sender = OpenAISender(HTTPClient(f"{server.url}/v1"), "m")

        async def send() -> Measurement:
            measurement = Measurement(time.perf_counter())
            await sender.send(Ask("chat", HELLO), measurement)
            return measurement

        for _ in range(3):
            assert (await send()).succeeded
        assert server.connections == 1
        await asyncio.gather(*(send() for _ in range(4)))
        assert server.connections == 4

        answer = server.handle
        closing = True

        async def close_once(exchange: StandinExchange) -> None:
            nonlocal closing
            if closing:
                closing = False
                exchange.hang_up()
            else:
                await answer(exchange)

        server.handle = close_once
        assert (await send()).succeeded
        await sender.close()


async def test_a_request_that_is_given_up_closes_its_connection() -> None:
    left = asyncio.Event()

    async def handle(exchange: StandinExchange) -> None:
        try:
            await exchange.begin_stream()
            while True:
                await exchange.event(delta("word"))
                await asyncio.sleep(0.005)
        finally:
            left.set()

    async with StandinChat(handle) as server:
        sender = OpenAISender(HTTPClient(f"{server.url}/v1"), "m")
        second_token = asyncio.Event()
        measurement = Measurement(time.perf_counter(), on_gap=lambda _: second_token.set())
        task = asyncio.ensure_future(sender.send(Ask("chat", HELLO), measurement))
        await asyncio.wait_for(second_token.wait(), 30)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.wait_for(left.wait(), 30)


async def test_nobody_there_and_no_such_name() -> None:
    async with StandinChat() as server:
        port = server.port
    for url, reason in ((f"http://127.0.0.1:{port}", "refused"), ("http://no-such-host.invalid", "resolved")):
        measurement = Measurement(time.perf_counter())
        await OpenAISender(HTTPClient(url), "m").send(Ask("chat", HELLO), measurement)
        assert measurement.failure is not None
        assert measurement.failure.kind == "unreachable"
        assert reason in str(measurement.failure)


async def test_tls_is_checked_and_works(tmp_path: Path) -> None:
    pair = Pair()
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    certificate.write_bytes(pair.certificate)
    key.write_bytes(pair.key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    async with StandinChat(tls=context) as server:
        for trusted in (None, ssl.create_default_context(cafile=str(certificate))):
            sender = OpenAISender(HTTPClient(f"{server.url}/v1", tls=trusted), "m")
            measurement = Measurement(time.perf_counter())
            await sender.send(Ask("chat", HELLO), measurement)
            await sender.close()
            if trusted is None:
                assert measurement.failure is not None
                assert measurement.failure.kind == "TLS"
                assert "certificate" in str(measurement.failure).lower()
            else:
                assert measurement.tokens == 5


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "server.sock")
    standin = StandinChat()
    server = await asyncio.start_unix_server(standin.accept, path)
    async with server:
        client = HTTPClient("http://engine/v1", socket_path=path, keep=False)
        response = await client.fetch("GET", "/models")
        assert json.loads(response.body)["data"][0]["id"] == "standin"
        assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize("url", ["ftp://host", "127.0.0.1:8000", "http://", ""])
def test_no_url(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        HTTPClient(url)


def test_a_header_has_no_line_break() -> None:
    with pytest.raises(ValueError, match="line break"):
        HTTPClient("http://host", {"x": "a\r\nb: c"})
