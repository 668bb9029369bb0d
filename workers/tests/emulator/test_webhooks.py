"""A job's final state is posted to its webhook."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import msgspec
from aiohttp import web

from engineroom_workers.emulator.jobs import Job, JobRequest
from engineroom_workers.emulator.testing import running_emulator
from engineroom_workers.emulator.webhooks import WebhookSender


@asynccontextmanager
async def receiver(*statuses: int) -> AsyncIterator[tuple[str, list[Any], anyio.Event]]:
    """A server that answers with these statuses in turn, what it was sent, and when it has answered with all."""
    received: list[Any] = []
    all_received = anyio.Event()

    async def receive(request: web.Request) -> web.Response:
        received.append(await request.json())
        if len(received) == len(statuses):
            all_received.set()
        return web.Response(status=statuses[len(received) - 1])

    app = web.Application()
    app.router.add_post("/hook", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook", received, all_received
    finally:
        await runner.cleanup()


async def test_it_gets_what_status_tells() -> None:
    async with (
        receiver(200) as (url, received, all_received),
        running_emulator() as platform,
        httpx.AsyncClient(base_url=platform.endpoint_url) as client,
    ):
        job_id = (await client.post("/run", json={"input": {}, "webhook": url})).json()["id"]
        await client.get("/job-take/w1?gpu=x")
        await client.post(f"/job-done/w1/{job_id}?gpu=x", json={"output": {"a": 1}})
        with anyio.fail_after(60):
            await all_received.wait()
        assert received == [(await client.get(f"/status/{job_id}")).json()]


async def test_it_is_tried_three_times() -> None:
    async with receiver(500, 500, 500) as (url, received, all_received):
        webhooks = WebhookSender(pause=0.01)
        job = Job(JobRequest(msgspec.Raw(b"{}"), webhook=url), sync=False)
        webhooks.job_finished(job)
        with anyio.fail_after(60):
            await all_received.wait()
        await webhooks.close()
    assert received == [json.loads(msgspec.json.encode(job.for_client()))] * 3
