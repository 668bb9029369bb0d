"""Two replicas on a cluster of `engineroom ray`, and what is left of it when that is killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import psutil
import pytest
from ray_serve import left_of, processes_below, start_ray

from engineroom_workers.testing import Door, serving

pytest.importorskip("ray", reason="Ray has an environment of its own: make test-ray")
pytestmark = [pytest.mark.real_ray, pytest.mark.timeout(120)]

QUESTION: Any = [{"role": "user", "content": "What is 2+2?"}]
SETTINGS = {
    "ENGINE": "echo",
    "REPLICAS": "2",
    "CPUS_PER_REPLICA": "0.5",
    "API_KEYS": "me:sk-1",
    "RAY_metrics_report_interval_ms": "1000",  # Ray's own; ten times that by default.
}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with serving(SETTINGS, start=start_ray, seconds=90) as door:
        door.says("ready: echo serves echo on", 60)
        yield door


def replicas(door: Door) -> list[psutil.Process]:
    """The replicas' processes."""
    return [one for one in processes_below(door.process.pid) if "ServeReplica" in " ".join(one.cmdline())]


async def asked(client: openai.AsyncOpenAI, times: int) -> None:
    """Ask that often, one after the other; raises where one is not answered, a client's usual retries included."""
    for _ in range(times):
        answer = await client.chat.completions.create(model="echo", messages=QUESTION)
        assert answer.choices[0].message.content == "What is 2+2?"
        await asyncio.sleep(0.02)


async def until_two(door: Door) -> set[int]:
    """Wait until two replicas run; their process ids."""
    for _ in range(300):
        pids = {one.pid for one in replicas(door)}
        if len(pids) == 2:
            return pids
        await asyncio.sleep(0.1)
    pytest.fail(f"there are not two replicas after 30 s: {door.log}")


@pytest.mark.anyio
@pytest.mark.parametrize("end", ["engine", "process"])
async def test_no_new_request_fails_when_one_of_two_is_gone(door: Door, end: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{door.url}/v1", api_key="sk-1", timeout=30) as client:
        before = await until_two(door)
        await asked(client, 5)
        if end == "engine":
            stream = await client.chat.completions.create(
                model="echo", messages=QUESTION, stream=True, extra_body={"echo_fault": "die", "echo_fault_after": 1}
            )
            with pytest.raises(openai.APIError):
                [chunk async for chunk in stream]
        else:
            os.kill(min(before), signal.SIGKILL)
        await asked(client, 150)
        assert await until_two(door) != before, "another one has taken its place"
        await asked(client, 5)


@pytest.mark.anyio
async def test_ray_exports_the_metrics_of_every_replica(door: Door) -> None:
    agent = next(one for one in processes_below(door.process.pid) if "DashboardAgent" in " ".join(one.cmdline()))
    ports = [one.laddr.port for one in agent.net_connections() if one.status == psutil.CONN_LISTEN]
    sample = re.compile(r'^ray_engineroom_requests_total\{.*key="me".*replica="(\w+)"', re.MULTILINE)
    exporting: set[str] = set()
    async with (
        openai.AsyncOpenAI(base_url=f"{door.url}/v1", api_key="sk-1", timeout=30) as client,
        httpx.AsyncClient(timeout=10) as scraper,
    ):
        for _ in range(60):
            await asked(client, 5)
            for port in ports:
                with contextlib.suppress(httpx.HTTPError):  # Not each of its ports speaks HTTP.
                    exporting |= set(sample.findall((await scraper.get(f"http://127.0.0.1:{port}/metrics")).text))
            if len(exporting) >= 2:
                return
            await asyncio.sleep(0.4)
    pytest.fail(f"metrics of two replicas were to be exported, not of {exporting}")


@pytest.mark.anyio
async def test_nothing_is_left_when_it_is_killed(door: Door) -> None:
    """The last test of this cluster. Two of Ray's own agents wait for its dead head for a minute, and end then."""
    agents = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
    below = [one for one in processes_below(door.process.pid) if not " ".join(one.cmdline()).startswith(agents)]
    assert any("haproxy" in " ".join(one.cmdline()) for one in below)
    door.process.kill()
    assert not await asyncio.to_thread(left_of, below, 30)
