"""A request's body: sent as bytes, or decoded by a caller in this process; checked alike."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from engineroom.asgi import Receive, Scope, Send, request, send_body
from engineroom.errors import APIError
from engineroom.openai.body import Request, read_request

MAX_BODY = 5000


async def read(method: str = "POST", **body: Any) -> Request:
    """The request as an app reads it that is called with this body."""
    requests: list[Request] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        requests.append(await read_request(scope, receive, MAX_BODY))
        await send_body(send, 200, b"", b"text/plain")

    async with request(app, method, "/v1/chat/completions", **body) as response:
        await response.read()
    return requests[0]


async def refusal(**body: Any) -> APIError:
    with pytest.raises(APIError) as error:
        await read(**body)
    return error.value


def nested(levels: int) -> dict[str, Any]:
    """An object of so many levels, lists and objects in turn."""
    value: Any = 1
    for level in range(levels - 1):
        value = [value] if level % 2 else {"a": value}
    return {"a": value}


VALUES = [
    {},
    {"model": "echo", "n": 1, "flag": None, "temperature": 0.5, "messages": [{"content": "Grüße 🗼"}]},
    {"text": '"' * 2000},
    {"texts": ["é" * 300] * 4},
    nested(100),
]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
async def test_a_decoded_body_is_read_as_its_bytes_would_be(value: dict[str, Any]) -> None:
    decoded = await read(json=value)
    sent = await read(body=msgspec.json.encode(value))
    assert decoded.json == sent.json == value
    assert decoded.body == sent.body


WRONG: list[tuple[dict[str, Any], int]] = [
    ({"text": "x" * 5000}, 413),
    ({"text": "\n" * 2500}, 413),
    ({"ids": list(range(2000))}, 413),
    ({"é" * 2500: 1}, 413),
    (nested(101), 400),
]


@pytest.mark.parametrize(("value", "status"), WRONG, ids=range(len(WRONG)))
async def test_a_decoded_body_is_refused_as_its_bytes_would_be(value: dict[str, Any], status: int) -> None:
    decoded, sent = await refusal(json=value), await refusal(body=msgspec.json.encode(value))
    assert (decoded.status, decoded.message, decoded.code) == (sent.status, sent.message, sent.code)
    assert decoded.status == status


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), "half a pair \ud83d"])
async def test_what_is_no_json_is_refused_also_where_it_comes_decoded(value: Any) -> None:
    error = await refusal(json={"messages": [{"content": value}]})
    assert (error.status, error.code) == (400, "invalid_json")


async def test_the_callers_object_stays_as_it_is() -> None:
    value = {"a": 1}
    read_request = await read(json=value)
    read_request.set_field("model", "echo")
    assert value == {"a": 1}
    assert msgspec.json.decode(read_request.body) == read_request.json == {"a": 1, "model": "echo"}


async def test_an_app_that_receives_bytes_gets_them() -> None:
    bodies: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        bodies.append((await receive())["body"])
        await send_body(send, 200, b"", b"text/plain")

    async with request(app, "POST", "/", json={"a": 1}) as response:
        await response.read()
    assert bodies == [b'{"a":1}']
    assert (await read("DELETE", json={"a": 1})).body == b'{"a":1}'
