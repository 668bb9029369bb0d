"""What the SDK's worker speaks to, asked by a stand-in worker that is nothing but an HTTP client."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from engineroom_workers.emulator.jobs import Job
from engineroom_workers.emulator.limits import MAX_CHUNK, MAX_RESULT
from engineroom_workers.emulator.testing import RunningEmulator, running_emulator


async def submit(client: httpx.AsyncClient, job_input: Any = None) -> str:
    return str((await client.post("/run", json={"input": job_input or {"a": 1}})).json()["id"])


async def take(client: httpx.AsyncClient, worker: str = "w1") -> httpx.Response:
    return await client.get(f"/job-take/{worker}?gpu=x&job_in_progress=0")


async def post(client: httpx.AsyncClient, route: str, job_id: str, body: Any, worker: str = "w1") -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await client.post(f"/{route}/{worker}/{job_id}?gpu=x&isStream=false", content=content)


async def test_an_idle_poll_is_held_and_answered_204() -> None:
    async with running_emulator(hold=0.2) as platform, httpx.AsyncClient(base_url=platform.endpoint_url) as client:
        assert (await take(client)).status_code == 204
        assert (await client.get("/job-stop/w1?gpu=x")).status_code == 204


async def test_a_held_poll_gets_the_next_job(platform: RunningEmulator, client: httpx.AsyncClient) -> None:
    poll = asyncio.create_task(take(client))
    await platform.polled()
    job_id = await submit(client, {"prompt": "hé"})
    response = await poll
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"id": job_id, "input": {"prompt": "hé"}}


async def test_a_job_carries_what_is_meant_for_the_worker(client: httpx.AsyncClient) -> None:
    extra = {"webhook": "http://127.0.0.1:9/", "s3Config": {"bucketName": "b"}}
    await client.post("/run", json={"input": 1, "policy": {"ttl": 10_000}, "unknown": 1, **extra})
    job = (await take(client)).json()
    del job["id"]
    assert job == {"input": 1, **extra}


async def test_a_batch_takes_what_is_there_up_to_its_size(client: httpx.AsyncClient) -> None:
    ids = [await submit(client) for _ in range(3)]
    first = await client.get("/job-take-batch/w1?gpu=x&batch_size=2&job_in_progress=0")
    second = await client.get("/job-take-batch/w1?gpu=x&batch_size=2&job_in_progress=1")
    assert [job["id"] for job in first.json()] == ids[:2]
    assert [job["id"] for job in second.json()] == ids[2:]
    assert (await client.get("/job-take-batch/w1?batch_size=none")).status_code == 400


async def test_jobs_go_round_among_the_workers_that_wait(platform: RunningEmulator, client: httpx.AsyncClient) -> None:
    polls = []
    for number in range(3):
        polls.append(asyncio.create_task(take(client, f"w{number}")))
        await platform.polled(number + 1)
    ids = [await submit(client) for _ in range(3)]
    assert [(await poll).json()["id"] for poll in polls] == ids


async def test_a_poll_that_was_given_up_gets_no_job(platform: RunningEmulator, client: httpx.AsyncClient) -> None:
    given_up = asyncio.create_task(take(client, "gone"))
    await platform.polled()
    waiting = asyncio.create_task(take(client, "here"))
    await platform.polled(2)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    await platform.until(lambda: platform.emulator.job_available.waiters == 1)
    job_id = await submit(client)
    assert (await waiting).json()["id"] == job_id
    assert platform.emulator.jobs[job_id].attempts == 1


async def test_job_stop_tells_the_holder_once(platform: RunningEmulator, client: httpx.AsyncClient) -> None:
    job_id = await submit(client)
    await take(client)
    poll = asyncio.create_task(client.get("/job-stop/w1?gpu=x"))
    await client.post(f"/cancel/{job_id}")
    assert (await poll).json() == {"jobsToStop": [job_id]}
    assert platform.emulator.workers.by_id["w1"].jobs_to_stop == []


async def test_nobody_is_told_to_stop_a_job_that_waits(platform: RunningEmulator, client: httpx.AsyncClient) -> None:
    await submit(client)
    await take(client)
    waiting = await submit(client)
    await client.post(f"/cancel/{waiting}")
    assert platform.emulator.workers.by_id["w1"].jobs_to_stop == []
    assert platform.emulator.jobs[waiting].status == "CANCELLED"


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"output": {"a": 1}}, "COMPLETED", None),
        ({}, "COMPLETED", None),
        ({"error": "text"}, "FAILED", "text"),
        ({"error": {"code": 7}, "output": 1}, "FAILED", {"code": 7}),
        ({"error": None, "output": 1}, "COMPLETED", None),
        ({"error": "", "output": 1}, "COMPLETED", None),
    ],
)
async def test_a_top_level_error_decides(client: httpx.AsyncClient, body: Any, status: str, error: Any) -> None:
    job_id = await submit(client)
    await take(client)
    assert (await post(client, "job-done", job_id, body)).status_code == 200
    state = (await client.get(f"/status/{job_id}")).json()
    assert (state["status"], state.get("error"), state.get("output")) == (status, error, body.get("output"))


async def test_what_comes_after_the_end_changes_nothing(platform: RunningEmulator, client: httpx.AsyncClient) -> None:
    job_id = await submit(client)
    await take(client)
    await post(client, "job-done", job_id, {"output": "first"})
    assert (await post(client, "job-stream", job_id, {"output": "late"})).status_code == 200
    assert (await post(client, "job-done", job_id, {"output": "second"})).status_code == 200
    job = platform.emulator.jobs[job_id]
    assert (bytes(job.output), job.chunks, job.posts["late"]) == (b'"first"', [], 2)


@pytest.mark.parametrize("route", ["job-stream", "job-done"])
@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"output": NaN}', b'\xff{"output": 1}'])
async def test_what_is_not_json_is_refused(
    platform: RunningEmulator, client: httpx.AsyncClient, route: str, body: bytes
) -> None:
    job_id = await submit(client)
    await take(client)
    assert (await post(client, route, job_id, body)).status_code == 400
    job = platform.emulator.jobs[job_id]
    assert (job.status, job.posts["refused"]) == ("IN_PROGRESS", 1)


@pytest.mark.parametrize(("route", "max_bytes"), [("job-stream", MAX_CHUNK), ("job-done", MAX_RESULT)])
async def test_size_limits(platform: RunningEmulator, client: httpx.AsyncClient, route: str, max_bytes: int) -> None:
    job_id = await submit(client)
    await take(client)
    frame = len(b'{"output": ""}')
    too_much = {"output": "x" * (max_bytes - frame + 1)}
    assert (await post(client, route, job_id, too_much)).status_code == 400
    assert platform.emulator.jobs[job_id].posts["refused"] == 1
    assert (await post(client, route, job_id, {"output": "x" * (max_bytes - frame)})).status_code == 200


async def test_a_job_that_nobody_knows(client: httpx.AsyncClient) -> None:
    assert (await post(client, "job-stream", "nobody", {"output": 1})).status_code == 404
    assert (await post(client, "job-done", "nobody", {"output": 1})).status_code == 404


async def test_other_methods_and_paths(platform: RunningEmulator, client: httpx.AsyncClient) -> None:
    assert (await client.get("/job-done/w1/job")).status_code == 404
    assert (await client.get("/job-take")).status_code == 404
    assert (await client.get(f"{platform.base_url}/other/job-take/w1")).status_code == 404


async def test_pings(platform: RunningEmulator, client: httpx.AsyncClient) -> None:
    assert (await client.get("/ping/w1?gpu=x&job_id=a,b&runpod_version=1.12.0")).status_code == 200
    worker = platform.emulator.workers.by_id["w1"]
    assert (worker.ping_jobs, worker.sdk_version, worker.state) == (["a", "b"], "1.12.0", "initializing")
    await client.get("/ping/w1?gpu=x&status=unhealthy&check=memory&reason=little&runpod_version=1.12.0")
    assert worker.unhealthy == "memory: little"
    assert (await client.get("/health")).json()["workers"]["unhealthy"] == 1


async def test_a_worker_whose_pings_stop_loses_its_jobs(platform: RunningEmulator, client: httpx.AsyncClient) -> None:
    await client.get("/ping/w1?gpu=x")
    job_id = await submit(client)
    await take(client)
    job = platform.emulator.jobs[job_id]
    await platform.until(lambda: job.status == "IN_QUEUE")
    assert "w1" not in platform.emulator.workers.by_id
    assert (await take(client, "w2")).json()["id"] == job_id
    await post(client, "job-done", job_id, {"output": 1}, worker="w2")
    state = (await client.get(f"/status/{job_id}")).json()
    assert (state["status"], state["workerId"], state["retries"]) == ("COMPLETED", "w2", 1)
    assert (await client.get("/health")).json()["jobs"]["retried"] == 1


async def test_a_worker_that_never_pinged_is_not_missed(platform: RunningEmulator, client: httpx.AsyncClient) -> None:
    await submit(client)
    await take(client)
    await asyncio.sleep(0)
    assert platform.emulator.workers.by_id["w1"].ping_timer is None


async def test_redelivery_has_an_end(platform: RunningEmulator, client: httpx.AsyncClient) -> None:
    job_id = await submit(client)
    for _ in range(platform.emulator.options.max_attempts):
        assert (await take(client)).json()["id"] == job_id
        again = await client.post(f"{platform.url}/emulator/redeliver/{job_id}")
    assert again.json()["status"] == "FAILED"
    assert "handed out 3 times" in (await client.get(f"/status/{job_id}")).json()["error"]
    assert (await client.post(f"{platform.url}/emulator/redeliver/{job_id}")).status_code == 409


async def test_a_job_handed_out_twice_ends_once(platform: RunningEmulator, client: httpx.AsyncClient) -> None:
    platform.faults.redeliver = 1
    job_id = await submit(client)
    assert (await take(client, "w1")).json()["id"] == job_id
    assert (await take(client, "w2")).json()["id"] == job_id
    await post(client, "job-done", job_id, {"output": "from w1"}, worker="w1")
    await post(client, "job-done", job_id, {"output": "from w2"}, worker="w2")
    job = platform.emulator.jobs[job_id]
    assert (job.status, bytes(job.output), job.posts["late"]) == ("COMPLETED", b'"from w1"', 1)
    assert not any(worker.jobs for worker in platform.emulator.workers.by_id.values())


async def test_execution_timeout_tells_the_worker(platform: RunningEmulator, client: httpx.AsyncClient) -> None:
    platform.emulator.options = replace(platform.emulator.options, execution_timeout=0.1)
    job_id = await submit(client)
    await take(client)
    assert (await client.get("/job-stop/w1?gpu=x")).json() == {"jobsToStop": [job_id]}
    assert platform.emulator.jobs[job_id].status == "TIMED_OUT"


async def test_a_job_that_nobody_takes_times_out(platform: RunningEmulator, client: httpx.AsyncClient) -> None:
    platform.emulator.options = replace(platform.emulator.options, ttl=0.1)
    job: Job = platform.emulator.jobs[await submit(client)]
    await platform.finished(job.id)
    assert (job.status, len(platform.emulator.queue)) == ("TIMED_OUT", 0)


async def test_a_worker_that_will_be_replaced_gets_no_more_jobs() -> None:
    async with running_emulator(hold=1) as platform, httpx.AsyncClient(base_url=platform.endpoint_url) as client:
        polls = []
        for number in range(3):
            if number == 2:  # Which is to wait for the job, however long that takes to come.
                platform.emulator.options = replace(platform.emulator.options, hold=60)
            polls.append(asyncio.create_task(take(client, f"w{number}")))
            await platform.polled(number + 1)
        platform.emulator.options = replace(platform.emulator.options, hold=1)
        platform.emulator.workers.by_id["w0"].stopping = True
        platform.emulator.workers.by_id["w1"].stopping = True
        job_id = await submit(client)
        responses = await asyncio.gather(*polls)
        assert [response.status_code for response in responses] == [204, 204, 200]
        await submit(client)
        assert (await take(client, "w0")).status_code == 204
        assert platform.emulator.jobs[job_id].attempts == 1
