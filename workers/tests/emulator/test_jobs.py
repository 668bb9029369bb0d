"""Jobs from a client through the platform to a worker of RunPod's SDK and back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from engineroom_workers.emulator.testing import RunningEmulator, running_emulator


@pytest.fixture
def sdk(shared: RunningEmulator, monkeypatch: pytest.MonkeyPatch) -> Any:
    """RunPod's own client."""
    import runpod  # It takes seconds, which not every process has to spend to collect this file.

    monkeypatch.setattr(runpod, "endpoint_url_base", shared.base_url)
    return runpod.Endpoint(shared.endpoint_id, api_key="any")


@pytest.fixture
def short_execution(shared: RunningEmulator) -> Iterator[None]:
    options = shared.emulator.options
    shared.emulator.options = replace(options, execution_timeout=1.0)
    yield
    shared.emulator.options = options


async def run(endpoint: httpx.AsyncClient, instructions: dict[str, Any]) -> str:
    response = await endpoint.post("/run", json={"input": instructions})
    assert response.json()["status"] == "IN_QUEUE"
    return str(response.json()["id"])


async def status(endpoint: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    state: dict[str, Any] = (await endpoint.get(f"/status/{job_id}")).json()
    return state


async def test_run_and_status(shared: RunningEmulator, endpoint: httpx.AsyncClient) -> None:
    job_id = await run(endpoint, {"items": ["a", {"b": 1}, None]})
    await shared.finished(job_id)
    state = await status(endpoint, job_id)
    assert job_id.endswith("-e1")
    assert state.pop("delayTime") >= 0
    assert state.pop("executionTime") >= 0
    assert state.pop("workerId") in shared.emulator.workers.by_id
    assert state == {"id": job_id, "status": "COMPLETED", "output": ["a", {"b": 1}, None]}


async def test_status_may_be_posted(shared: RunningEmulator, endpoint: httpx.AsyncClient) -> None:
    job_id = await run(endpoint, {})
    await shared.finished(job_id)
    assert (await endpoint.post(f"/status/{job_id}")).json() == await status(endpoint, job_id)


async def test_stream_hands_out_each_chunk_once(shared: RunningEmulator, endpoint: httpx.AsyncClient) -> None:
    job_id = await run(endpoint, {"items": ["a", "b"]})
    await shared.finished(job_id)
    first = (await endpoint.get(f"/stream/{job_id}")).json()
    assert first == {"status": "COMPLETED", "stream": [{"output": "a"}, {"output": "b"}]}
    assert (await endpoint.get(f"/stream/{job_id}")).json() == {"status": "COMPLETED", "stream": []}


async def test_runsync(endpoint: httpx.AsyncClient) -> None:
    state = (await endpoint.post("/runsync", json={"input": {"items": [1]}})).json()
    assert state["id"].startswith("sync-")
    assert (state["status"], state["output"]) == ("COMPLETED", [1])


async def test_runsync_answers_when_its_wait_is_over(
    shared: RunningEmulator, endpoint: httpx.AsyncClient, tmp_path: Path
) -> None:
    instructions = {"input": {"hang": str(tmp_path / "mark")}}
    # The worker's poll: whatever else it does, the job is handed out at once.
    await shared.until(lambda: shared.emulator.job_available.waiters)
    state = (await endpoint.post("/runsync?wait=1000", json=instructions)).json()
    assert state["status"] == "IN_PROGRESS"
    await endpoint.post(f"/cancel/{state['id']}")


@pytest.mark.parametrize(
    ("instructions", "error"),
    [
        ({"raise": "broken"}, "handler: broken"),
        # The SDK makes text of whatever a generator yields as an error.
        ({"items": [{"error": {"code": 7}}]}, "{'code': 7}"),
    ],
)
async def test_errors_fail_the_job(
    shared: RunningEmulator, endpoint: httpx.AsyncClient, instructions: dict[str, Any], error: str
) -> None:
    job_id = await run(endpoint, instructions)
    await shared.finished(job_id)
    state = await status(endpoint, job_id)
    assert state["status"] == "FAILED"
    assert state["error"].startswith(error)
    assert "output" not in state


async def test_progress_shows_in_the_status(
    shared: RunningEmulator, endpoint: httpx.AsyncClient, tmp_path: Path
) -> None:
    job_id = await run(endpoint, {"progress": ["half"], "hang": str(tmp_path / "mark")})
    job = shared.emulator.jobs[job_id]
    await shared.until(lambda: job.posts["progress"])
    assert (await status(endpoint, job_id))["output"] == "half"
    await endpoint.post(f"/cancel/{job_id}")


async def test_cancel_stops_the_handler(shared: RunningEmulator, endpoint: httpx.AsyncClient, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    job_id = await run(endpoint, {"items": ["a"], "hang": str(mark)})
    await shared.streamed(job_id)
    assert (await endpoint.post(f"/cancel/{job_id}")).json() == {"id": job_id, "status": "CANCELLED"}
    await shared.until(mark.exists)
    assert (await status(endpoint, job_id))["status"] == "CANCELLED"
    assert not any(worker.jobs for worker in shared.emulator.workers.by_id.values())


@pytest.mark.usefixtures("short_execution")
async def test_execution_timeout_stops_the_handler(
    shared: RunningEmulator, endpoint: httpx.AsyncClient, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    job_id = await run(endpoint, {"hang": str(mark)})
    await shared.finished(job_id)
    assert (await status(endpoint, job_id))["status"] == "TIMED_OUT"
    await shared.until(mark.exists)


async def test_health_counts_jobs_and_workers(
    shared: RunningEmulator, endpoint: httpx.AsyncClient, tmp_path: Path
) -> None:
    before = (await endpoint.get("/health")).json()
    assert before["workers"]["idle"] == 1
    job_id = await run(endpoint, {"items": [1], "hang": str(tmp_path / "mark")})
    await shared.streamed(job_id)
    during = (await endpoint.get("/health")).json()
    assert during["jobs"] == {**before["jobs"], "inProgress": before["jobs"]["inProgress"] + 1}
    assert (during["workers"]["idle"], during["workers"]["running"]) == (0, 1)
    await endpoint.post(f"/cancel/{job_id}")


async def test_the_timeline_tells_when_each_post_arrived(shared: RunningEmulator, endpoint: httpx.AsyncClient) -> None:
    shared.faults.rtt_ms = 50
    job_id = await run(endpoint, {"items": ["a", "b", "c"]})
    await shared.finished(job_id)
    stats = (await endpoint.get(f"{shared.url}/emulator/stats")).json()
    timeline = next(job for job in stats["jobs"] if job["id"] == job_id)
    times = [timeline["created_at"], timeline["taken_at"], *timeline["arrivals"], timeline["done_at"]]
    assert times == sorted(times)
    assert timeline["first_stream_at"] == timeline["arrivals"][0]
    assert all(later - earlier >= 0.045 for earlier, later in pairwise(times[1:]))
    assert timeline["posts"]["stream"] == 3
    assert timeline["bytes"] > 0
    detail = (await endpoint.get(f"{shared.url}/emulator/jobs/{job_id}")).json()
    assert detail["chunks"] == ["a", "b", "c"]


async def test_plain_handlers(platform: RunningEmulator, client: httpx.AsyncClient, start_worker: Any) -> None:
    start_worker(platform, "plain")
    ends = {}
    for instructions in ({"a": 1}, "text", {}, {"error": {"code": 7}}, {"error": "bad", "refresh_worker": True}):
        state = (await client.post("/runsync", json={"input": {"return": instructions}})).json()
        ends[json.dumps(instructions)] = (state["status"], state.get("output"), state.get("error"))
    assert list(ends.values()) == [
        ("COMPLETED", {"a": 1}, None),
        ("COMPLETED", "text", None),
        ("COMPLETED", None, None),
        ("FAILED", None, {"code": 7}),
        ("FAILED", None, "bad"),
    ]


async def test_runpods_client(shared: RunningEmulator, sdk: Any, tmp_path: Path) -> None:
    def use() -> list[Any]:
        job = sdk.run({"input": {"items": ["x", "y"]}})
        streamed = list(job.stream())
        hanging = sdk.run({"input": {"hang": str(tmp_path / "mark")}})
        return [
            streamed,
            job.status(),
            job.output(timeout=60),
            sdk.run_sync({"input": {"items": [1]}}, timeout=30),
            hanging.cancel(timeout=60),
            sdk.health(timeout=60)["workers"]["unhealthy"],
            sdk.purge_queue(timeout=60),
        ]

    *results, cancelled, unhealthy, purged = await asyncio.to_thread(use)
    assert results == [["x", "y"], "COMPLETED", ["x", "y"], [1]]
    assert cancelled["status"] == "CANCELLED"
    assert unhealthy == 0
    assert purged == {"removed": 0, "status": "completed"}


async def test_runpods_client_with_a_wrong_key(monkeypatch: pytest.MonkeyPatch) -> None:
    import runpod

    async with running_emulator(api_key="right") as platform:
        monkeypatch.setattr(runpod, "endpoint_url_base", platform.base_url)
        with pytest.raises(RuntimeError, match="401 Unauthorized"):
            await asyncio.to_thread(runpod.Endpoint(platform.endpoint_id, api_key="wrong").run, {"a": 1})
        job = await asyncio.to_thread(runpod.Endpoint(platform.endpoint_id, api_key="right").run, {"a": 1})
        assert platform.emulator.jobs[job.job_id].status == "IN_QUEUE"
