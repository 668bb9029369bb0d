"""The conformance kit against the upstream engine, in front of a served echo engine and of real llama.cpp."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager

import pytest
from http_door import Door, free_port, serving
from llamacpp_made import SMALL, in_so_many_words

from engineroom.engine import Engine
from engineroom.settings import Environment, WorkerSettings
from engineroom.testing import Expectations, Lifecycle, Target, engine_target, running
from engineroom.testing.lifecycle import an_outage_ends
from engineroom.testing.suite import test_conformance, test_lifecycle
from engineroom_upstream import UpstreamEngine

__all__ = ["test_conformance", "test_lifecycle"]

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
            saying=in_so_many_words,
        ),
    ),
}


def make(*urls: str, **settings: object) -> UpstreamEngine:
    env = Environment.of({"UPSTREAM_URLS": ",".join(urls), **settings})
    return UpstreamEngine.configure(WorkerSettings.load(env), env)


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[tuple[Door, Expectations]]:
    env, expectations = SERVERS[request.param]
    with serving(env) as door:
        yield door, expectations


@pytest.fixture
async def target(server: tuple[Door, Expectations]) -> AsyncIterator[Target]:
    door, expectations = server

    async def metrics() -> str:
        """The server's own: what it does is what must end when a client of ours leaves."""
        return await asyncio.to_thread(door.metrics)

    async with running(make(f"{door.url}/v1")) as engine:
        yield Target(engine_target(engine, expectations).call, metrics, expectations)


@pytest.fixture
def lifecycle() -> Iterator[Lifecycle]:
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

        yield Lifecycle(ours, broken, outage=outage)


@pytest.mark.anyio
async def test_a_server_that_hangs_is_away() -> None:
    """It is there, takes connections, and answers nothing (SIGSTOP): as if it were not there, until it goes on."""
    with serving({"ECHO_TOKENS_PER_S": "1000"}) as door:

        @asynccontextmanager
        async def outage() -> AsyncIterator[None]:
            door.process.send_signal(signal.SIGSTOP)
            yield
            door.process.send_signal(signal.SIGCONT)

        await an_outage_ends(Lifecycle(lambda: make(door.url, MODEL_NAME="echo", UPSTREAM_CHECK=0.2), outage=outage))
