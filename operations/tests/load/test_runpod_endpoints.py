"""Endpoints of RunPod as targets of a load test: jobs, cold starts and cost, with the emulator and a real worker."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any

import pytest
from server_process import process_groups

from engineroom.hardware import GpuCatalog
from engineroom_operations.bench.run_cost import HourlyPrice, cost, price_of_worker
from engineroom_operations.load.endpoint_watch import EndpointWatch, WatchedSender, WorkerSeconds, queue_workers
from engineroom_operations.load.http_client import HTTPClient
from engineroom_operations.load.job_sender import JobRoute, JobSender
from engineroom_operations.load.measurement import Measurement
from engineroom_operations.load.sender import Ask, OpenAISender, Sender, Surface
from engineroom_workers.emulator.testing import running_emulator
from engineroom_workers.testing import COMMAND

pytestmark = pytest.mark.anyio

CHAT = {"messages": [{"role": "user", "content": "one two three four five"}], "max_tokens": 5}


async def send(sender: Sender, body: dict[str, Any] = CHAT, surface: Surface = "chat") -> Measurement:
    measurement = Measurement(time.perf_counter())
    await sender.send(Ask(surface, body), measurement)
    return measurement


@pytest.mark.parametrize("route", ["run", "runsync"])
async def test_a_job_is_measured_as_an_answer(endpoint: str, route: JobRoute) -> None:
    sender = JobSender(HTTPClient(endpoint), "echo", route=route)
    measurement = await send(sender)
    await sender.close()
    assert measurement.failure is None
    assert measurement.prompt_tokens
    assert measurement.completion_tokens == 5
    assert measurement.finish_reason in ("stop", "length")
    assert measurement.due < measurement.first <= measurement.last <= measurement.ended
    assert measurement.extra["RunPod queue"] >= 0
    assert measurement.extra["execution"] > 0


async def test_many_jobs_at_once(endpoint: str) -> None:
    sender = JobSender(HTTPClient(endpoint), "echo")
    measurements = await asyncio.gather(*(send(sender) for _ in range(30)))
    await sender.close()
    assert [measurement.failure for measurement in measurements] == [None] * 30
    assert {measurement.completion_tokens for measurement in measurements} == {5}


@pytest.mark.parametrize("route", ["run", "runsync"])
async def test_a_job_that_fails_says_why(endpoint: str, route: JobRoute) -> None:
    sender = JobSender(HTTPClient(endpoint), "echo", route=route)
    measurement = await send(sender, {**CHAT, "temperature": "hot"})
    await sender.close()
    assert measurement.failure is not None
    assert "temperature" in str(measurement.failure)


async def test_what_is_no_endpoint_is_said_to_be_none(endpoint: str) -> None:
    sender = JobSender(HTTPClient(endpoint.replace("/emulated", "/other")), "echo")
    measurement = await send(sender)
    await sender.close()
    assert measurement.failure is not None
    assert measurement.failure.kind == "not found"


async def test_a_job_that_takes_too_long_is_cancelled() -> None:
    async with running_emulator() as platform:
        sender = JobSender(HTTPClient(platform.endpoint_url), "echo", timeout_s=0.5)
        measurement = await send(sender)
        await sender.close()
        assert measurement.failure is not None
        assert measurement.failure.kind == "timeout"
        assert [job.status for job in platform.emulator.jobs.values()] == ["CANCELLED"]


@pytest.mark.parametrize("jobs", [True, False], ids=["jobs", "openai"])
async def test_cold_starts_are_told_apart(jobs: bool) -> None:
    """The worker is started once the first request waits for it; the second meets it at work."""
    async with running_emulator() as platform:
        health = HTTPClient(platform.endpoint_url)
        watch = EndpointWatch(partial(queue_workers, health))
        client = HTTPClient(platform.endpoint_url if jobs else platform.openai_url)
        inner: Sender = JobSender(client, "echo") if jobs else OpenAISender(client, "echo")
        sender = WatchedSender(inner, watch)
        async with watch.watching():
            assert watch.ready is False
            first = asyncio.ensure_future(send(sender))
            await platform.until(lambda: platform.emulator.jobs)
            environment = {**worker_environ(), **platform.worker_environment()}
            with process_groups() as start:
                start([COMMAND, "runpod"], env=environment)
                cold = await first
                await watch.look()
                warm = await send(sender)
        await sender.close()
        health.close()
    assert cold.failure is None
    assert warm.failure is None
    assert watch.cold == 1
    assert cold.extra["cold start"] == cold.ttft_s
    assert "cold start" not in warm.extra
    assert watch.peak_workers == 1
    assert watch.seconds.least + watch.seconds.idle > 0
    if jobs:
        assert cold.extra["RunPod queue"] > warm.extra["RunPod queue"]


def worker_environ() -> dict[str, str]:
    import os

    return {**os.environ, "ENGINE": "echo"}


async def test_a_watch_of_what_is_no_endpoint_counts_nothing() -> None:
    async with running_emulator() as platform:
        client = HTTPClient(f"{platform.url}/v2/other")
        watch = EndpointWatch(partial(queue_workers, client))
        async with watch.watching():
            assert watch.ready is None
        client.close()
        assert watch.failure is not None
        assert watch.cold == 0


def test_the_cost_of_a_run() -> None:
    run = cost(WorkerSeconds(starting=60, at_work=300, idle=360), HourlyPrice(3.6, "a price"), 1_000_000)
    assert run.least == pytest.approx(0.36)
    assert run.most_billed == pytest.approx(0.72)
    assert run.per_million_tokens == pytest.approx(0.36)
    assert any("$0.36" in line and "$0.72" in line for line in run.lines())
    assert cost(WorkerSeconds(), HourlyPrice(1, "a price"), 0).per_million_tokens is None


def test_the_price_of_a_worker() -> None:
    catalog = GpuCatalog.load()
    gpu = next(gpu for gpu in catalog.gpus if gpu.serverless_usd is not None)
    assert gpu.serverless_usd is not None
    price = price_of_worker(catalog, "Prices are of some day", [gpu.id], 2)
    assert price is not None
    assert price.usd == pytest.approx(2 * gpu.serverless_usd)
    assert "prices are of some day" in price.source
    assert price_of_worker(catalog, "", ["no such GPU"], 1) is None
