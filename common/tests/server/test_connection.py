"""The connection to an engine's server, with one that takes its time."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from engineroom.server import Address, Upstream


async def test_what_a_server_is_slow_to_say_of_itself_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Metrics are asked for again soon. What vLLM serves is asked for once: on a busy machine the answer took longer
    than metrics may, and its embeddings were a 404 for good.
    """

    async def describe(request: web.Request) -> web.Response:
        await asyncio.sleep(0.3)
        return web.Response(text="embeddings")

    routes = web.Application()
    routes.router.add_get("/description", describe)
    runner = web.AppRunner(routes)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    monkeypatch.setattr(Upstream.text, "__defaults__", (0.05,))
    upstream = Upstream.at(Address(None, runner.addresses[0][1]), {}, 4)
    try:
        assert await upstream.text("/description") == ""
        assert await upstream.description("/description") == "embeddings"
    finally:
        await upstream.close()
        await runner.cleanup()
