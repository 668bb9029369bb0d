"""What can go wrong between worker and platform: nothing is lost in silence, nothing is sent twice."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator

import msgspec
import uvicorn

from engineroom.asgi import ASGIApp, Receive, Scope, Send, send_body
from engineroom_workers.emulator.options import EndpointOptions
from engineroom_workers.emulator.platform import Emulator
from engineroom_workers.emulator.server import listen
from engineroom_workers.emulator.testing import RunningEmulator, running_emulator
from engineroom_workers.runpod.handler import LARGEST_ITEM, JobResponse
from engineroom_workers.runpod.jobs import deliver
from engineroom_workers.runpod.platform import DeliveryError

from .conftest import StartWorker, chat, endless, submit, text_of

TEXT = "the quick brown fox jumps over the lazy dog and back again"


async def test_stream_posts_that_fail_are_sent_again(platform: RunningEmulator, start_worker: StartWorker) -> None:
    start_worker(platform)
    await platform.polled()
    platform.faults.fail_stream = platform.faults.fail_done = 0.34
    # So many items at least, however many tokens come while one is on its way.
    value = {**chat(TEXT, stream=True), "max_batch_size": 2, "batch_size_growth_factor": 1}
    jobs = [submit(platform, value) for _ in range(3)]
    for job in jobs:
        await platform.finished(job.id)
        assert (job.status, text_of(job.chunks)) == ("COMPLETED", TEXT)
    assert sum(job.posts["refused"] for job in jobs) >= 10


async def test_a_job_that_is_handed_out_twice_runs_once(platform: RunningEmulator, start_worker: StartWorker) -> None:
    worker = start_worker(platform)
    await platform.polled()
    job = submit(platform, chat(TEXT, stream=True, echo_tokens_per_s=5))
    await platform.streamed(job.id)
    platform.emulator.redeliver(job, "test")
    await platform.until(lambda: "handed out again" in worker.log)
    await platform.finished(job.id)
    assert job.status == "COMPLETED"
    output = "".join(msgspec.json.decode(job.output))
    assert text_of([msgspec.Raw(msgspec.json.encode(output))]) == TEXT


async def test_too_many_requests_errors_and_flashboot(platform: RunningEmulator, start_worker: StartWorker) -> None:
    platform.faults.take_429 = platform.faults.fail_take = platform.faults.take_400 = 0.5
    start_worker(platform)
    jobs = [submit(platform, {"prompt": str(number)}) for number in range(5)]
    for job in jobs:
        await platform.finished(job.id, 60)
        assert job.status == "COMPLETED"


async def test_a_full_worker_leaves_jobs_in_the_queue(platform: RunningEmulator, start_worker: StartWorker) -> None:
    start_worker(platform, MAX_CONCURRENCY=2)
    await platform.polled()
    running = [submit(platform, endless()) for _ in range(2)]
    for job in running:
        await platform.streamed(job.id, 2)
    waiting = submit(platform, {"prompt": "a"})
    await platform.streamed(running[0].id, len(running[0].chunks) + 20)
    assert waiting.status == "IN_QUEUE"
    platform.emulator.cancel(running[0])
    await platform.finished(waiting.id)


async def test_three_hundred_streams_at_once(platform: RunningEmulator, start_worker: StartWorker) -> None:
    start_worker(platform, MAX_CONCURRENCY=300)
    await platform.polled()
    platform.faults.rtt_ms = 20
    jobs = [submit(platform, chat(f"{TEXT} {number}", stream=True, echo_tokens_per_s=20)) for number in range(300)]
    for job in jobs:
        await platform.finished(job.id, 100)
    assert [text_of(job.chunks) for job in jobs] == [f"{TEXT} {number}" for number in range(300)]


async def test_large_answers_are_split_and_arrive_whole(platform: RunningEmulator, start_worker: StartWorker) -> None:
    start_worker(platform, ECHO_MAX_MODEL_LEN=1_000_000)
    await platform.polled()
    text = 'a "quoted" line\n' * 6000
    for value in (
        {**chat(text, stream=True, max_tokens=400_000), "max_batch_size": 1_000_000, "batch_size_growth_factor": 1},
        chat(text, stream=True, max_tokens=400_000),
    ):
        job = submit(platform, value)
        await platform.finished(job.id, 100)
        assert max(len(bytes(chunk)) for chunk in job.chunks) <= LARGEST_ITEM
        assert text_of(job.chunks) == text


async def test_pings_name_the_jobs(start_worker: StartWorker) -> None:
    async with running_emulator(hold=110, ping_interval=1) as platform:
        start_worker(platform)
        await platform.polled()
        job = submit(platform, endless())
        (worker,) = platform.emulator.workers.by_id.values()
        await platform.until(lambda: worker.ping_jobs == [job.id])
        assert worker.sdk_version == "1.12.0"
        platform.emulator.cancel(job)
        await platform.until(lambda: worker.ping_jobs == [])


async def test_an_answer_from_something_else_than_the_platform(start_worker: StartWorker) -> None:
    """A proxy's HTML page, and JSON that is no job: the worker neither ends nor asks without rest."""
    asked: list[float] = []

    async def not_the_platform(scope: Scope, receive: Receive, send: Send) -> None:
        if "job-take" in scope["path"]:
            asked.append(time.monotonic())
            page, kind = [(b"<html>", b"text/html"), (b'["x", 5]', b"application/json"), (b"{", b"application/json")][
                len(asked) % 3
            ]
            await send_body(send, 200, page, kind)
        else:
            await send_body(send, 204, b"", b"text/plain")

    async with served(not_the_platform) as platform:
        worker = start_worker(platform)
        await platform.until(lambda: len(asked) > 5)
        assert not worker.ended
        assert "is not a job" in worker.log
        before = len(asked)
        await asyncio.sleep(2)
        assert len(asked) - before < 40


class RefusingPlatform:
    """A stand-in for `Platform` that refuses every result that is not an error."""

    def __init__(self) -> None:
        self.results: list[bytes] = []

    async def done(self, job_id: str, result: bytes) -> None:
        self.results.append(result)
        if b'"error"' not in result:
            raise DeliveryError("answered with 400", rejected=True)


async def test_a_refused_result_becomes_an_error() -> None:
    platform = RefusingPlatform()
    await deliver("1", JobResponse(False, items("fine")), platform)  # type: ignore[arg-type]
    assert b"delivery_failed" in platform.results[-1]


async def test_a_result_that_is_too_large_is_told() -> None:
    platform = RefusingPlatform()
    await deliver("1", JobResponse(False, items("x" * 21_000_000)), platform)  # type: ignore[arg-type]
    (result,) = platform.results
    assert msgspec.json.decode(result)["output"][0]["error"]["code"] == "result_too_large"


async def items(*values: str) -> AsyncGenerator[str, None]:
    for value in values:
        yield value


@contextlib.asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[RunningEmulator]:
    """Serve `app` in the place of an emulator."""
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    task = asyncio.ensure_future(server.serve(sockets=[listener]))
    try:
        yield RunningEmulator(Emulator(EndpointOptions()), f"http://127.0.0.1:{listener.getsockname()[1]}")
    finally:
        server.should_exit = server.force_exit = True
        await asyncio.wait_for(task, 60)
