"""What clients can say and what they are answered, without a worker."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from engineroom_workers.emulator.limits import MAX_RUN, MAX_RUNSYNC, QUEUED_PER_WORKER
from engineroom_workers.emulator.testing import RunningEmulator, running_emulator


@pytest.mark.parametrize("route", ["/run", "/runsync"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        b'{"input": null}',
        b'{"input": {}, "policy": {"executionTimeout": 5000}}',
        b'{"input": {}, "policy": {"ttl": 9999}}',
        b'{"input": {}, "policy": {"ttl": 604800001}}',
        b'{"input": {}, "webhook": 1}',
        b'{"input": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
)
async def test_wrong_requests(platform: RunningEmulator, client: httpx.AsyncClient, route: str, body: bytes) -> None:
    response = await client.post(route, content=body)
    assert response.status_code == 400
    assert response.json()["error"]
    assert not platform.emulator.jobs


@pytest.mark.parametrize("wait", ["999", "300001", "soon", "-1", ""])
async def test_wait_has_a_range(client: httpx.AsyncClient, wait: str) -> None:
    assert (await client.post(f"/runsync?wait={wait}", json={"input": {}})).status_code == 400


@pytest.mark.parametrize(("route", "max_bytes"), [("/run", MAX_RUN), ("/runsync", MAX_RUNSYNC)])
async def test_size_limits(client: httpx.AsyncClient, route: str, max_bytes: int) -> None:
    frame = len(b'{"input":""}')
    body = b'{"input":"' + b"x" * (max_bytes - frame) + b'"}'
    response = await client.post(f"{route}?wait=1000", content=body)
    assert (response.status_code, response.json()["status"]) == (200, "IN_QUEUE")
    assert (await client.post(route, content=body + b" ")).status_code == 413


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/status/x"), ("GET", "/stream/x"), ("POST", "/cancel/x"), ("POST", "/retry/x"), ("GET", "/nothing")],
)
async def test_unknown_things(client: httpx.AsyncClient, method: str, path: str) -> None:
    assert (await client.request(method, path)).status_code == 404


async def test_methods(client: httpx.AsyncClient) -> None:
    assert (await client.get("/run")).status_code == 405
    assert (await client.get("/purge-queue")).status_code == 405


async def test_a_waiting_job(client: httpx.AsyncClient) -> None:
    job_id = (await client.post("/run", json={"input": {}})).json()["id"]
    assert (await client.get(f"/status/{job_id}")).json() == {"id": job_id, "status": "IN_QUEUE"}
    assert (await client.get(f"/stream/{job_id}")).json() == {"status": "IN_QUEUE", "stream": []}


async def test_purge_removes_what_waits(client: httpx.AsyncClient) -> None:
    ids = [(await client.post("/run", json={"input": {}})).json()["id"] for _ in range(3)]
    await client.get("/job-take/w1?gpu=x")
    assert (await client.post("/purge-queue")).json() == {"removed": 2, "status": "completed"}
    states = [(await client.get(f"/status/{job_id}")).json()["status"] for job_id in ids]
    assert states == ["IN_PROGRESS", "CANCELLED", "CANCELLED"]


async def test_retry(client: httpx.AsyncClient) -> None:
    job_id = (await client.post("/run", json={"input": {"a": 1}})).json()["id"]
    await client.get("/job-take/w1?gpu=x")
    assert (await client.post(f"/retry/{job_id}")).status_code == 400
    await client.post(f"/job-done/w1/{job_id}?gpu=x", json={"error": "bad"})
    assert (await client.post(f"/retry/{job_id}")).json() == {"id": job_id, "status": "IN_QUEUE"}
    assert "error" not in (await client.get(f"/status/{job_id}")).json()
    assert (await client.get("/job-take/w1?gpu=x")).json() == {"id": job_id, "input": {"a": 1}}


@pytest.mark.parametrize(
    ("authorization", "status"),
    [("Bearer right", 200), ("bearer right", 200), ("right", 200), ("Bearer wrong", 401), ("", 401)],
)
async def test_the_key(authorization: str, status: int) -> None:
    async with running_emulator(api_key="right") as platform:
        headers = {"Authorization": authorization} if authorization else {}
        async with httpx.AsyncClient(base_url=platform.endpoint_url, headers=headers) as client:
            assert (await client.get("/health")).status_code == status
            assert (await client.post("/run", json={"input": {}})).status_code == status
            assert (await client.get("/openai/v1/models") if status == 401 else None) is None or status == 401
            # Workers have a key of their own, which is not checked.
            assert (await client.get("/ping/w1?gpu=x")).status_code == 200


async def limited(count: int, path: str, **options: Any) -> list[int]:
    async with (
        running_emulator(limits=True) as platform,
        httpx.AsyncClient(base_url=platform.endpoint_url, timeout=30) as client,
    ):
        return [(await client.post(path, **options)).status_code for _ in range(count)]


async def test_rate_limits() -> None:
    assert await limited(3, "/purge-queue") == [200, 200, 429]


async def test_a_full_queue() -> None:
    async with running_emulator(limits=True) as platform, httpx.AsyncClient(base_url=platform.endpoint_url) as client:
        await client.get("/ping/w1?gpu=x")
        for _ in range(QUEUED_PER_WORKER + 1):
            assert (await client.post("/run", json={"input": {}})).status_code == 200
        assert (await client.post("/run", json={"input": {}})).status_code == 429


async def test_faults_are_changed_at_run_time(platform: RunningEmulator, client: httpx.AsyncClient) -> None:
    url = f"{platform.url}/emulator/faults"
    assert (await client.post(url, json={"take_429": 1, "rtt_ms": 5})).json()["take_429"] == 1
    assert (await client.get("/job-take/w1?gpu=x")).status_code == 429
    for wrong in ({"take_429": 2}, {"nothing": 1}, {"take_429": "often"}):
        response = await client.post(url, json={"rtt_ms": 7, **wrong})
        assert response.status_code == 400
    assert (await client.get(url)).json()["rtt_ms"] == 5
