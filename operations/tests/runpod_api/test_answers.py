"""What the client makes of answers: errors in words, nulls, limits, logs. A stand-in server says what is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from engineroom.runpod_account import RunPodAccount, served_names
from engineroom_operations.runpod_api import ENDPOINTS, REGISTRIES, VOLUMES, RunPodApiError, RunPodClient
from engineroom_operations.runpod_api.errors import field_and_cause, masked
from engineroom_operations.runpod_api.transport import ATTEMPTS

KEY = "rpa_neverseen"


@asynccontextmanager
async def standin(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[RunPodClient]:
    """A client of a server that answers as this function does."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    account = RunPodAccount.model_validate({"runpod_api_url": f"http://127.0.0.1:{port}/v2", "runpod_api_key": KEY})
    try:
        async with RunPodClient(account, pause_s=0.001) as api:
            yield api
    finally:
        await runner.cleanup()


async def test_null_stands_for_an_empty_list() -> None:
    async def answer(request: web.Request) -> web.Response:
        endpoint = {
            "id": "e",
            "name": "n",
            "env": None,
            "ports": None,
            "gpu": None,
            "cpu": None,
            "networkVolumes": None,
        }
        return web.json_response({"endpoints": [endpoint]})

    async with standin(answer) as api:
        (endpoint,) = await api.all_of(ENDPOINTS)
    assert (endpoint.env, endpoint.ports, endpoint.gpu, endpoint.network_volumes) == ({}, [], None, [])


async def test_a_list_that_is_null() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"networkVolumes": None})

    async with standin(answer) as api:
        assert await api.all_of(VOLUMES) == []


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, {"title": "Unauthorized", "status": 401, "detail": "invalid bearer token"}, "RUNPOD_API_KEY is wrong"),
        (402, {"title": "Payment Required", "status": 402, "detail": "insufficient balance"}, "balance is too low"),
        (403, {"title": "Forbidden", "status": 403, "detail": "access denied"}, "write access"),
        (404, "<html>nginx</html>", "no reason given"),
        (
            422,
            {"detail": "invalid", "errors": ["$.workers.max: must be at least 0"]},
            "\n  workers.max: must be at least 0",
        ),
        (200, "<html>log in</html>", "not what RunPod's REST API v2 promises"),
        (200, {"endpoints": [{"id": 3}]}, "not what RunPod's REST API v2 promises"),
    ],
)
async def test_an_answer_that_is_none_is_told_at_once(status: int, body: object, words: str) -> None:
    asked = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return (
            web.Response(text=body, status=status) if isinstance(body, str) else web.json_response(body, status=status)
        )

    async with standin(answer) as api:
        with pytest.raises(RunPodApiError) as raised:
            await api.all_of(ENDPOINTS)
    assert words in str(raised.value)
    assert "listing every endpoint" in str(raised.value)
    assert asked == 1


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_retries_have_a_limit(status: int) -> None:
    asked = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.json_response({"detail": "not now"}, status=status)

    async with standin(answer) as api:
        with pytest.raises(RunPodApiError, match="not now"):
            await api.all_of(ENDPOINTS)
    assert asked == ATTEMPTS


async def test_a_quota_of_an_hour_is_not_waited_for() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"detail": "too many"}, status=429, headers={"Retry-After": "1800"})

    async with standin(answer) as api:
        with pytest.raises(RunPodApiError, match="RunPod limits requests"):
            await asyncio.wait_for(api.all_of(ENDPOINTS), 10)


async def test_a_secret_that_runpod_quotes_is_masked() -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.method == "GET":
            return web.json_response({"registries": []})
        return web.json_response(
            {"detail": f"bad body: {await request.text()}", "errors": ["$.password: pw-1"]}, status=422
        )

    async with standin(answer) as api:
        with pytest.raises(RunPodApiError) as raised:
            await api.create(REGISTRIES, {"name": "r", "username": "u", "password": "pw-1"}, ["pw-1"])
    assert "pw-1" not in str(raised.value)
    assert "password: •••" in str(raised.value)


async def test_log_lines_of_a_stream_whatever_else_is_in_it() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.headers["Last-Event-ID"] == "t0"
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b': waiting\n\nid: t1\ndata: {"source": "container", "line": "a: b", "ts": "t1"}\n\n')
        await response.write(b"data: no json\n\ndata: {}\n\n")
        await response.write('data: {"line": "ü", '.encode() + b'"ts": "t2"}\r\n\r\n')
        return response

    async with standin(answer) as api:
        lines = [(event.source, event.line, event.ts) async for event in api.pod_logs("p", after="t0")]
    assert lines == [("container", "a: b", "t1"), ("", "", ""), ("", "ü", "t2")]


async def test_nothing_is_made_twice_where_answers_get_lost_and_lists_lag() -> None:
    """The first look after a lost answer does not show what was made; the second does."""
    made: list[dict[str, str]] = []
    looks = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal looks
        if request.method == "POST":
            made.append({"id": f"r{len(made)}", "name": "r"})
            return web.Response(status=502)
        looks += 1
        return web.json_response({"registries": made if looks > 1 else []})

    async with standin(answer) as api:
        registry = await api.create(REGISTRIES, {"name": "r", "username": "u", "password": "p"})
    assert (registry.id, len(made)) == ("r0", 1)


def test_fields_of_errors() -> None:
    assert field_and_cause("$.gpu.pools: too few") == "gpu.pools: too few"
    assert field_and_cause("$: additional properties 'x' not allowed") == "additional properties 'x' not allowed"
    assert field_and_cause("anything else") == "anything else"


def test_a_secret_inside_another_is_masked_whole() -> None:
    assert masked("abc ab", ["ab", "abc"]) == "••• •••"


def test_names_by_which_a_container_serves_its_model() -> None:
    assert served_names({"MODEL_NAME": "a/b"}) == ("a/b",)
    assert served_names({"MODEL_NAME": "a/b", "OPENAI_SERVED_MODEL_NAME_OVERRIDE": "c, d"}) == ("c", "d")
    assert served_names({}) == ()
