"""The conformance kit against the upstream engine, in front of a served echo engine and of real llama.cpp."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager

import pytest
from http_door import Door, free_port, serving
from llamacpp_made import SMALL

from engineroom.engine import Engine
from engineroom.environment import Environment
from engineroom.testing import (
    CHECKS,
    LIFECYCLE_CHECKS,
    Check,
    Expectations,
    Lifecycle,
    NotOffered,
    Target,
    engine_target,
)
from engineroom_upstream import UpstreamEngine

SERVERS = {
    "echo": (
        {"ECHO_MAX_MODEL_LEN": "2048", "ECHO_TOKENS_PER_S": "1000"},
        Expectations(model="echo", max_model_len=2048, running_metric="engineroom_echo_running"),
    ),
    "llamacpp": (
        {"ENGINE": "llamacpp", **{name: str(value) for name, value in SMALL.items()}},
        Expectations(
            model="SmolLM2-135M-Instruct",
            max_model_len=2048,
            running_metric="llamacpp:requests_processing",
            fields={"temperature": 0},
        ),
    ),
}


def make(*urls: str, **settings: object) -> UpstreamEngine:
    return UpstreamEngine.configure(Environment.of({"UPSTREAM_URLS": ",".join(urls), **settings}))


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[tuple[Door, Expectations]]:
    env, expectations = SERVERS[request.param]
    with serving(env) as door:
        yield door, expectations


@pytest.fixture
async def target(server: tuple[Door, Expectations]) -> AsyncIterator[Target]:
    door, expectations = server
    engine = make(f"{door.url}/v1")
    await engine.start()
    through = engine_target(engine, expectations)

    async def metrics() -> str:
        """The server's own: what it does is what must end when a client of ours leaves."""
        return await asyncio.to_thread(door.metrics)

    yield Target(through.call, metrics, expectations)
    await engine.stop()


@pytest.mark.parametrize("check", CHECKS, ids=str)
async def test_conformance(check: Check, target: Target) -> None:
    try:
        await check(target)
    except NotOffered as reason:
        pytest.skip(f"not offered: {reason}")


@pytest.mark.parametrize("check", LIFECYCLE_CHECKS, ids=lambda check: check.__name__)
async def test_lifecycle(check: Callable[[Lifecycle], Awaitable[None]]) -> None:
    port = free_port()
    with ExitStack() as stack:

        def start() -> Door:
            return stack.enter_context(serving({"ECHO_TOKENS_PER_S": "1000", "PORT": str(port)}))

        door = start()

        @asynccontextmanager
        async def outage() -> AsyncIterator[None]:
            door.process.kill()
            await asyncio.to_thread(door.process.wait, 60)
            yield
            await asyncio.to_thread(start)

        def ours() -> Engine:
            return make(door.url, MODEL_NAME="echo", UPSTREAM_CHECK=0.2)

        def broken() -> Engine:
            return make(f"http://127.0.0.1:{free_port()}/v1", START_TIMEOUT=0.3)

        try:
            await check(Lifecycle(ours, broken, outage=outage))
        except NotOffered as reason:
            pytest.skip(f"not offered: {reason}")
