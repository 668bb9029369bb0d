"""The door with everything on, under clients that do wrong or are many."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import time
from collections.abc import Iterator

import aiohttp
import httpx
import pytest
from http_door import Door, serving
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EVERYTHING = {
    "API_KEYS": "alice:sk-alice",
    "METRICS_OPEN": "1",
    "CORS_ORIGINS": "*",
    "SECURITY_HEADERS": "1",
    "MAX_CONCURRENT_REQUESTS": "2000",
    "REQUESTS_PER_MINUTE": "1000000",
    "TOKENS_PER_MINUTE": "1000000000",
    "BREAKER_FAILURES": "1000",
    "CACHE_TTL": "60",
    "ACCESS_LOG": "1",
    "BODY_TIMEOUT": "5",
}
KEY = {"authorization": "Bearer sk-alice"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["model", "messages", "prompt", "input", "stream", "stream_options", "max_tokens", "n", "temperature", "seed"]


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with serving(EVERYTHING) as door:
        yield door
        assert "Traceback" not in door.log


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(["/v1/chat/completions", "/v1/completions", "/v1/embeddings"]),
    fields=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6),
    messages=st.booleans(),
)
def test_no_json_is_too_much(door: Door, path: str, fields: dict[str, object], messages: bool) -> None:
    body = {"messages": [{"role": "user", "content": "x"}]} if messages else {}
    answer = httpx.post(f"{door.url}{path}", json={"max_tokens": 5, **body, **fields}, headers=KEY, timeout=30)
    assert answer.status_code < 500, answer.text
    assert answer.status_code == 200 or answer.json()["error"]["message"]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["authorization", "x-request-id", "cache-control", "content-type", "x-api-key", "origin"]),
    value=st.binary(max_size=300).filter(lambda value: not set(value) & {0, 10, 13}),
    body=st.binary(max_size=200),
)
def test_no_bytes_are_too_much(door: Door, name: str, value: bytes, body: bytes) -> None:
    host, port = door.url.removeprefix("http://").split(":")
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer sk-alice\r\n"
    with socket.create_connection((host, int(port)), timeout=20) as client:
        extra = name.encode() + b": " + value + b"\r\n"
        client.sendall(head + extra + b"content-length: %d\r\n\r\n" % len(body) + body)
        answer = client.recv(65536)
    assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 200")), answer


async def test_a_thousand_streams_at_once(door: Door) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2500:
        pytest.skip(f"only {hard} open files are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2500), hard))
    body = {"messages": [{"role": "user", "content": "x"}], "stream": True, "ignore_eos": True, "max_tokens": 10}
    body["echo_tokens_per_s"] = 5
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=100), headers=KEY
    ) as session:

        async def one() -> bool:
            async with session.post(f"{door.url}/v1/chat/completions", json=body) as answer:
                return answer.status == 200 and (await answer.read()).endswith(b"data: [DONE]\n\n")

        assert await asyncio.gather(*(one() for _ in range(1000))) == [True] * 1000
        deadline = time.monotonic() + 20
        while (await (await session.get(f"{door.url}/metrics.json")).json())["running"]:
            assert time.monotonic() < deadline, "turns were not given back"
            await asyncio.sleep(0.1)


def test_clients_that_vanish_leave_nothing_running(door: Door) -> None:
    host, port = door.url.removeprefix("http://").split(":")
    fields = {"stream": True, "max_tokens": 100_000, "ignore_eos": True, "echo_tokens_per_s": 20}
    body = json.dumps({"messages": [{"role": "user", "content": "x"}], **fields}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-alice\r\n"
    for _ in range(20):
        with socket.create_connection((host, int(port)), timeout=20) as client:
            client.sendall(head + b"content-length: %d\r\n\r\n" % len(body) + body)
            client.recv(100)
    deadline = time.monotonic() + 20
    while door.metric("engineroom_echo_running"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
