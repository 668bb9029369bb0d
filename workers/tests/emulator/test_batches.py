"""Batches: drafted, finalized, worked on after all other jobs, watched, cancelled."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from engineroom_workers.emulator import batches
from engineroom_workers.emulator.testing import RunningEmulator


async def create(client: httpx.AsyncClient, count: int, **fields: Any) -> str:
    requests = [{"input": {"number": number}} for number in range(count)]
    answer = await client.post("/batch", json={"requests": requests, **fields})
    assert answer.status_code == 200
    return str(answer.json()["id"])


async def take(client: httpx.AsyncClient, size: int) -> list[dict[str, Any]]:
    jobs: list[dict[str, Any]] = (await client.get(f"/job-take-batch/w1?batch_size={size}")).json()
    return jobs


async def finish(client: httpx.AsyncClient, job: dict[str, Any], **result: Any) -> None:
    await client.post(f"/job-done/w1/{job['id']}?isStream=false", json=result)


async def counts(client: httpx.AsyncClient, batch_id: str) -> tuple[Any, ...]:
    batch = (await client.get(f"/batch/{batch_id}")).json()
    names = ("Total", "InProgress", "Completed", "Failed")
    return (batch["status"], *(batch[f"request{name}"] for name in names))


async def test_a_batch_from_draft_to_its_results(platform: RunningEmulator, client: httpx.AsyncClient) -> None:
    batch_id = await create(client, 1, name="nightly")
    added = await client.post(f"/batch/{batch_id}/requests", json=[{"input": {"number": 1}}, {"input": 2}])
    assert (added.json()["status"], added.json()["requestTotal"]) == ("DRAFT", 3)
    requests = (await client.get(f"/batch/{batch_id}/requests")).json()["requests"]
    assert (await client.delete(f"/batch/{batch_id}/requests/{requests[2]['id']}")).json()["requestTotal"] == 2
    assert not platform.emulator.jobs_wait
    finalized = (await client.post(f"/batch/{batch_id}/finalize")).json()
    assert (finalized["status"], finalized["name"]) == ("FINALIZED", "nightly")
    first, second = await take(client, 5)
    assert first["batchId"] == second["batchId"] == batch_id
    assert await counts(client, batch_id) == ("FINALIZED", 2, 2, 0, 0)
    await finish(client, first, output="fine")
    await finish(client, second, error="not fine")
    assert await counts(client, batch_id) == ("FINALIZED", 2, 0, 1, 1)
    states = (await client.get(f"/batch/{batch_id}/requests")).json()
    assert [(state["status"], state.get("output"), state.get("error")) for state in states["requests"]] == [
        ("COMPLETED", "fine", None),
        ("FAILED", None, "not fine"),
    ]
    assert states["nextCursor"] is None
    assert [batch["id"] for batch in (await client.get("/batch")).json()["batches"]] == [batch_id]


async def test_interactive_jobs_go_first(client: httpx.AsyncClient) -> None:
    batch_id = await create(client, 3)
    await client.post(f"/batch/{batch_id}/finalize")
    job_id = (await client.post("/run", json={"input": 1})).json()["id"]
    jobs = await take(client, 2)
    assert [job.get("batchId") for job in jobs] == [None, batch_id]
    assert jobs[0]["id"] == job_id
    assert (await client.get("/health")).json()["jobs"]["inQueue"] == 2


async def test_a_cancelled_batch_lets_running_jobs_finish(client: httpx.AsyncClient) -> None:
    batch_id = await create(client, 2)
    await client.post(f"/batch/{batch_id}/finalize")
    (job,) = await take(client, 1)
    assert (await client.post(f"/batch/{batch_id}/cancel")).json()["status"] == "CANCELLED"
    await finish(client, job, output=1)
    assert await counts(client, batch_id) == ("CANCELLED", 2, 0, 1, 1)


async def test_pages(client: httpx.AsyncClient) -> None:
    batch_id = await create(client, 150)
    first = (await client.get(f"/batch/{batch_id}/requests")).json()
    second = (await client.get(f"/batch/{batch_id}/requests?cursor={first['nextCursor']}")).json()
    assert (len(first["requests"]), len(second["requests"]), second["nextCursor"]) == (100, 50, None)


async def test_limits_and_refusals(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MAX_REQUESTS", 3)
    batch_id = await create(client, 3)
    assert (await client.post(f"/batch/{batch_id}/requests", json=[{"input": 1}])).status_code == 400
    assert (await client.post("/batch", json=[{"no": "input"}])).status_code == 400
    assert (await client.post("/batch", content=b"{")).status_code == 400
    assert (await client.get("/batch/unknown")).status_code == 404
    await client.post(f"/batch/{batch_id}/finalize")
    for refused in ("requests", "finalize"):
        answer = await client.post(f"/batch/{batch_id}/{refused}", json=[])
        assert (answer.status_code, "FINALIZED" in answer.json()["error"]) == (400, True)
    for _ in range(batches.MAX_BATCHES - 1):
        await create(client, 0)
    assert "10 batches" in (await client.post("/batch", json=[])).json()["error"]
    await client.post(f"/batch/{batch_id}/cancel")
    await create(client, 1)
