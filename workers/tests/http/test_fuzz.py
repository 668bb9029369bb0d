"""Whatever a client sends, the door answers, and refuses in OpenAI's form; over real sockets.

Doors bare, with everything on, without a cache, and as a proxy. Requests that OpenAI's specification allows, and its
answers, are the business of tests/openai_spec.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from http_door import Door, serving
from http_everything import EVERYTHING
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

DOORS = {
    "bare": {"METRICS": "false"},
    "everything": EVERYTHING,
    "everything but a cache": {**EVERYTHING, "CACHE_TTL": "0"},
    "a proxy": {**EVERYTHING, "ENGINE": "upstream"},
}
FUZZ = settings(
    max_examples=100, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
PATHS = [b"/v1/chat/completions", b"/v1/completions", b"/v1/embeddings"]
MESSAGES = b'"messages":[{"role":"user","content":"x"}]'
FIELDS = [
    *("model", "messages", "prompt", "input", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n"),
    *("temperature", "top_p", "seed", "stop", "logprobs", "top_logprobs", "logit_bias", "tools", "tool_choice"),
    *("functions", "response_format", "user", "metadata", "echo", "best_of", "suffix", "encoding_format"),
    *("dimensions", "presence_penalty", "modalities", "audio", "web_search_options", "reasoning_effort"),
]

large = st.sampled_from([0, -1, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**30, 1e308, -0.0])
odd = st.sampled_from(["", "\0", "a\u2028b", "\ufeff", "<|im_end|>", "🦙" * 9, "x" * 5000, "../..", "a\r\nb: c"])
texts = st.text(max_size=20) | odd
scalars = st.none() | st.booleans() | st.integers() | large | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)

bad_numbers = [b"NaN", b"1e999", b"-Infinity", b"1" + b"0" * 5000, b"00", b"1.", b"0x1", b"-"]
bad_texts = [rb'"\ud800"', rb'"\udc00\ud800"', rb'"\u0000"', b'"\x00"', b'"\xff"', b'"\xed\xa0\x80"', rb'"\x"', b'"']
brackets = st.sampled_from([(b"[", b"]"), (b'{"a":', b"}"), (b'{"text":', b"}"), (b'[{"content":', b"}]")])
nested = st.builds(lambda pair, depth: pair[0] * depth + b"1" + pair[1] * depth, brackets, st.integers(1, 3000))
raw_values = st.sampled_from(bad_numbers + bad_texts) | nested | values.map(lambda value: json.dumps(value).encode())
raw_fields = st.lists(st.tuples(st.sampled_from(FIELDS), raw_values), max_size=4)
"""Names may come twice."""

KINDS = [
    *(b"application/json", b"application/json; charset=utf-16", b"text/plain", b"application/x-www-form-urlencoded"),
    *(b"multipart/form-data", b"multipart/form-data; boundary=x", b"application/octet-stream", b"", b"\xff/\xff"),
]
NAMES = [
    *(b"authorization", b"x-api-key", b"x-request-id", b"cache-control", b"accept", b"accept-encoding", b"origin"),
    *(b"content-encoding", b"expect", b"traceparent", b"tracestate", b"range", b"te", b"forwarded", b"cookie", b"x-y"),
    *(b"content-type", b"anthropic-version", b"upgrade", b"connection"),
]
clean = st.binary(max_size=60).map(lambda value: bytes(byte for byte in value if byte not in b"\r\n\0"))
headers = st.lists(st.tuples(st.sampled_from(NAMES), clean | st.just(b"x" * 9000)), max_size=4)


@pytest.fixture(scope="module", params=DOORS, ids=str)
def door(request: pytest.FixtureRequest) -> Iterator[Door]:
    env = DOORS[request.param]
    with ExitStack() as stack:
        if env.get("ENGINE") == "upstream":
            env = {**env, "UPSTREAM_URLS": f"{stack.enter_context(serving()).url}/v1"}
        door = stack.enter_context(serving(env))
        yield door
        assert door.ping() == 200
        assert "Traceback" not in door.log


def exchange(door: Door, sent: bytes) -> tuple[int, bytes]:
    """What is answered to some bytes, up to the connection's end."""
    host, port = door.url.removeprefix("http://").split(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=60) as client:
        client.sendall(sent)
        try:
            while part := client.recv(65536):
                received += part
        except ConnectionResetError:
            assert received, "reset without an answer"
    head, _, body = received.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 "), received[:200]
    return int(head.split()[1]), body


def request(method: bytes, path: bytes, body: bytes, *more: tuple[bytes, bytes]) -> bytes:
    head = [(b"host", b"x"), (b"authorization", b"Bearer sk-alice"), (b"content-length", b"%d" % len(body)), *more]
    lines = [method + b" " + path + b" HTTP/1.1", *(name + b": " + value for name, value in head)]
    return b"\r\n".join([*lines, b"connection: close", b"", body])


def well_answered(status: int, body: bytes) -> None:
    """It is an answer, or OpenAI's error, and not one of the server's own."""
    assert status == 200 or 400 <= status < 500, (status, body[:300])
    if status != 200:
        error = json.loads(body)["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]
        assert "Traceback" not in error["message"]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request(b"POST", PATHS[0], b'{"messages":' + b"[" * 900 + b"]" * 900 + b"}"), 400),
        (request(b"POST", PATHS[0], b'{"messages":' + b"[" * 100_000), 400),
        (request(b"POST", b"/ping", b""), 405),
        (b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", 400),
        (b"GET /v1/\xff HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00 a TLS client\r\n\r\n", 400),
    ],
    ids=["deep", "deep and cut", "a method", "a length", "a path", "not HTTP"],
)
def test_what_fuzzing_found(door: Door, sent: bytes, status: int) -> None:
    answered, body = exchange(door, sent)
    assert answered == status
    well_answered(answered, body)


@FUZZ
@given(path=st.sampled_from(PATHS), fields=st.dictionaries(st.sampled_from(FIELDS), values, max_size=6))
def test_any_json(door: Door, path: bytes, fields: dict[str, object]) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "x"}], "max_tokens": 5, **fields}).encode()
    well_answered(*exchange(door, request(b"POST", path, body)))


@FUZZ
@given(path=st.sampled_from(PATHS), fields=raw_fields, cut=st.none() | st.integers(0, 200))
def test_nearly_json(door: Door, path: bytes, fields: list[tuple[str, bytes]], cut: int | None) -> None:
    parts = [MESSAGES, b'"temperature":0', *(b'"%s":%s' % (name.encode(), value) for name, value in fields)]
    body = b"{" + b",".join(parts) + b"}"
    well_answered(*exchange(door, request(b"POST", path, body[:cut])))


@FUZZ
@given(kind=st.sampled_from(KINDS), body=st.binary(max_size=200) | st.just(b"{" + MESSAGES + b"}"), more=headers)
def test_any_headers_and_any_bytes(door: Door, kind: bytes, body: bytes, more: list[tuple[bytes, bytes]]) -> None:
    well_answered(*exchange(door, request(b"POST", PATHS[0], body, (b"content-type", kind), *more)))


@FUZZ
@given(
    method=st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"PATCH", b"TRACE", b"FOO"]),
    path=st.sampled_from(
        ["/", "/ping", "/health", "/metrics", "/v1/models/", "/v1/", "/settings.json", "*", "//", "/%"]
    ),
    rest=st.text(max_size=20) | odd,
    quoted=st.booleans(),
)
def test_any_path(door: Door, method: bytes, path: str, rest: str, quoted: bool) -> None:
    text = path + rest
    raw = "".join(f"%{byte:02x}" for byte in text.encode()).encode() if quoted else text.encode()
    status, body = exchange(door, request(method, raw.replace(b"\r", b"").replace(b"\n", b""), b""))
    well_answered(status, body)


@FUZZ
@given(
    sent=st.binary(min_size=1, max_size=300)
    | st.builds(lambda n: b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * n, st.integers(0, 9))
)
def test_what_is_not_http(door: Door, sent: bytes) -> None:
    """Told so, or left without an answer where the request never became whole."""
    host, port = door.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        received = b""
        try:
            while part := client.recv(65536):
                received += part
        except ConnectionResetError:
            return
    if received:
        head, _, body = received.partition(b"\r\n\r\n")
        well_answered(int(head.split()[1]), body)
