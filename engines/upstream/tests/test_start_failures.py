"""Why no server can be used, in one sentence: each cause is made to happen, on real sockets."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engineroom.errors import EngineStartError
from engineroom.plugins import open_engine
from engineroom.settings import Environment

Way = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answer(status: str, body: str = "", kind: str = "application/json", more: str = "") -> Way:
    """A server that gives every request this answer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}Connection: close\r\n"
        )
        writer.write(f"{head}\r\n{body}".encode())
        await writer.drain()
        writer.close()

    return serve


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.close()


async def speak_another_protocol(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example ESMTP\r\n")
    await writer.drain()
    writer.close()


@asynccontextmanager
async def listening(way: Way, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a server."""
    server = await asyncio.start_server(way, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def refusal(url: str, **settings: str) -> str:
    """Why the engine did not start over a server."""
    given = {"ENGINE": "upstream", "UPSTREAM_URLS": url, "START_TIMEOUT": "0.2", **settings}
    engine = open_engine(Environment.of(given))
    with pytest.raises(EngineStartError) as caught:
        await asyncio.wait_for(engine.start(), 60)
    assert engine.health().reason == str(caught.value)
    assert not engine.health().live
    await engine.stop()
    return re.sub(r"127\.0\.0\.1:\d+", "HOST", str(caught.value))


MODELS = '{"data": [{"id": "a"}, {"id": "b"}]}'
LATER = "no server could be used within START_TIMEOUT: HOST: "
AT_ONCE = "no server can be used: HOST: "


@pytest.mark.parametrize(
    ("way", "sentence"),
    [
        (
            answer("401 Unauthorized", "{}"),
            AT_ONCE
            + "GET /models was answered with 401: the server refuses UPSTREAM_API_KEY, or wants a key and none is "
            "set",
        ),
        (
            answer("403 Forbidden", "{}"),
            AT_ONCE
            + "GET /models was answered with 403: the server refuses UPSTREAM_API_KEY, or wants a key and none is "
            "set",
        ),
        (
            answer("404 Not Found", "{}"),
            LATER + "GET /models was answered with 404: UPSTREAM_URLS must end where the API begins, mostly with /v1; "
            "UPSTREAM_CHECK=0 is for a server without such a list",
        ),
        (
            answer("301 Moved", more="Location: https://x.example/v1\r\n"),
            LATER + "GET /models was answered with 301 to https://x.example/v1: UPSTREAM_URLS must name that address "
            "itself",
        ),
        (
            answer("429 Too Many", "{}"),
            LATER + "GET /models was answered with 429: the server is busy, or its quota is used up",
        ),
        (
            answer("503 Unavailable", "{}"),
            LATER + "GET /models was answered with 503: the server is not ready, or what stands behind it is down",
        ),
        (
            answer("200 OK", "<html>", "text/html"),
            AT_ONCE + "GET /models was not answered with a list of models but with a page: that is no OpenAI API; "
            "check the path in UPSTREAM_URLS",
        ),
        (
            answer("200 OK", '{"models": []}'),
            AT_ONCE + "GET /models was not answered with a list of models but with other application/json: that is no "
            "OpenAI API; check the path in UPSTREAM_URLS",
        ),
        (
            say_nothing,
            LATER + "it closed the connection without an answer: a server that wants https does so; UPSTREAM_URLS says "
            "which",
        ),
        (
            speak_another_protocol,
            AT_ONCE + "what answers there speaks no HTTP: check the port in UPSTREAM_URLS",
        ),
    ],
    ids=["401", "403", "404", "301", "429", "503", "page", "json", "silence", "protocol"],
)
async def test_an_answer_becomes_the_sentence_that_helps(way: Way, sentence: str) -> None:
    async with listening(way) as port:
        assert await refusal(f"http://127.0.0.1:{port}/v1") == sentence


async def test_another_model_is_named_with_those_that_are_there() -> None:
    async with listening(answer("200 OK", MODELS)) as port:
        reason = await refusal(f"http://127.0.0.1:{port}/v1", MODEL_NAME="c")
    assert reason == "MODEL_NAME=c is none of the models of HOST, which has: a, b"


async def test_a_port_where_nobody_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        reason = await refusal(f"http://127.0.0.1:{probe.getsockname()[1]}/v1")
    assert reason == LATER + "nothing listens there: start the server, or correct host and port in UPSTREAM_URLS"


async def test_a_name_that_nobody_has() -> None:
    reason = await refusal("http://no-such-host.invalid/v1")
    assert reason.endswith("no-such-host.invalid: DNS does not know its name: check the host in UPSTREAM_URLS")


async def test_https_where_http_is_spoken() -> None:
    async with listening(answer("200 OK", MODELS)) as port:
        reason = await refusal(f"https://127.0.0.1:{port}/v1")
    assert reason == AT_ONCE + "it speaks http and not https: write http:// in UPSTREAM_URLS"


def self_signed(folder: Path) -> ssl.SSLContext:
    """A server's side of TLS with a certificate of its own making; skips where no openssl makes one."""
    key = folder / "key.pem"
    certificate = folder / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    try:
        subprocess.run([*made, "-keyout", key, "-out", certificate], check=True, capture_output=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("no openssl to make a certificate with")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


async def test_a_certificate_that_nobody_trusts(tmp_path: Path) -> None:
    async with listening(answer("200 OK", MODELS), await asyncio.to_thread(self_signed, tmp_path)) as port:
        reason = await refusal(f"https://127.0.0.1:{port}/v1")
    trusted = re.escape("its certificate is not trusted") + r" \(self.signed certificate\): SSL_CERT_FILE can name"
    assert re.search(trusted, reason)
