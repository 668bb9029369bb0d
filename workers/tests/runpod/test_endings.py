"""How jobs and workers end: cancelled, out of time, SIGTERM at every moment, SIGKILL, a dead engine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import msgspec
import pytest

from engineroom.process import descendants
from engineroom_workers.emulator.testing import RunningEmulator, running_emulator
from engineroom_workers.runpod.platform import PollSockets
from engineroom_workers.testing import reading

from .conftest import StartWorker, WorkerProcess, chat, endless, openai_client, submit, text_of

TEXT = "the quick brown fox jumps over the lazy dog"


async def exit_code(worker: WorkerProcess, timeout: float = 60) -> int:
    return await asyncio.to_thread(worker.process.wait, timeout)


async def running_in_engine(platform: RunningEmulator, worker: WorkerProcess, count: int) -> None:
    await platform.until(
        lambda: worker.metrics_file.exists() and worker.metric("engineroom_echo_running") == count,
        state=lambda: worker.log,
    )


async def test_cancelling_a_job_stops_its_generation_alone(
    platform: RunningEmulator, start_worker: StartWorker
) -> None:
    worker = start_worker(platform)
    await platform.polled()
    cancelled, other = submit(platform, endless()), submit(platform, endless())
    native = submit(platform, {"prompt": "tick ", "sampling_params": endless_params()})
    await running_in_engine(platform, worker, 3)
    async with httpx.AsyncClient(base_url=platform.endpoint_url) as client:
        for job in (cancelled, native):
            await client.post(f"/cancel/{job.id}")
    await running_in_engine(platform, worker, 1)
    assert (cancelled.status, other.status) == ("CANCELLED", "IN_PROGRESS")
    before = len(cancelled.chunks)
    await platform.streamed(other.id, len(other.chunks) + 10)
    assert len(cancelled.chunks) == before


async def test_a_job_out_of_time_stops_in_the_engine(start_worker: StartWorker) -> None:
    async with running_emulator(hold=110, execution_timeout=4) as platform:
        worker = start_worker(platform)
        await platform.polled()
        job = submit(platform, endless())
        await running_in_engine(platform, worker, 1)
        await platform.finished(job.id)
        assert job.status == "TIMED_OUT"
        await running_in_engine(platform, worker, 0)


async def test_a_client_that_goes_stops_in_the_engine(platform: RunningEmulator, start_worker: StartWorker) -> None:
    worker = start_worker(platform)
    await platform.polled()
    async with openai_client(platform) as client:
        stream = await client.chat.completions.create(
            model="echo",
            messages=[{"role": "user", "content": "tick "}],
            stream=True,
            extra_body=endless_params(),
        )
        async with reading(stream):
            await running_in_engine(platform, worker, 1)
    await running_in_engine(platform, worker, 0)


async def test_sigterm_when_idle_ends_at_once(platform: RunningEmulator, start_worker: StartWorker) -> None:
    """The platform holds its polls for two minutes; nothing waits for that."""
    worker = start_worker(platform, HAND_BACK="half_close")
    await platform.polled()
    worker.process.terminate()
    assert await exit_code(worker) == 0


async def test_sigterm_while_the_engine_starts(platform: RunningEmulator, start_worker: StartWorker) -> None:
    worker = start_worker(platform, ECHO_START_S=100)
    await platform.until(worker.metrics_file.exists)
    worker.process.terminate()
    assert await exit_code(worker) == 0
    assert not platform.emulator.workers.by_id


async def test_sigterm_lets_running_jobs_finish(platform: RunningEmulator, start_worker: StartWorker) -> None:
    worker = start_worker(platform, HAND_BACK="half_close")
    await platform.polled()
    job = submit(platform, chat(TEXT, stream=True, echo_tokens_per_s=10))
    await platform.streamed(job.id, 2)
    worker.process.terminate()
    await platform.until(lambda: "draining" in worker.log)
    # The worker has closed its poll; a job handed out before the platform notices would rightly be run.
    await platform.until(lambda: platform.emulator.job_available.waiters == 0)
    later = submit(platform, {"prompt": "a"})
    assert await exit_code(worker) == 0
    assert (job.status, text_of(job.chunks)) == ("COMPLETED", TEXT)
    assert later.status == "IN_QUEUE"


async def test_a_second_sigterm_hurries(platform: RunningEmulator, start_worker: StartWorker) -> None:
    worker = start_worker(platform, DRAIN_TIMEOUT=1000)
    await platform.polled()
    job = submit(platform, endless())
    await platform.streamed(job.id)
    worker.process.terminate()
    await platform.until(lambda: "draining" in worker.log)
    worker.process.terminate()
    assert await exit_code(worker) == 0
    assert job.finished


async def test_sigterm_in_a_storm_of_jobs_loses_none(platform: RunningEmulator, start_worker: StartWorker) -> None:
    """Workers are ended, one after another, while jobs are handed out: every job that was taken is answered."""
    platform.faults.rtt_ms = 5
    jobs = []
    for _ in range(4):
        worker = start_worker(platform, MAX_CONCURRENCY=4, HAND_BACK="half_close")
        jobs += [submit(platform, {"prompt": "a"}) for _ in range(400)]
        await platform.finished(jobs[-360].id)
        worker.process.terminate()
        assert await exit_code(worker) == 0
        assert {job.status for job in jobs} <= {"COMPLETED", "IN_QUEUE"}
    assert all(job.attempts <= 1 for job in jobs)


async def test_what_was_sent_before_we_hung_up_is_read() -> None:
    """The server answers at the moment at which it sees our half of the connection close."""
    answered = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"

    asked = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        assert await reader.read() == b""
        writer.write(answered)
        await writer.drain()
        writer.close()

    import aiohttp

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sockets = PollSockets()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(socket_factory=sockets)) as session:
        poll = asyncio.ensure_future(session.get(f"http://127.0.0.1:{port}/"))
        await asyncio.wait_for(asked.wait(), 60)
        assert not poll.done()
        sockets.hang_up()
        async with await asyncio.wait_for(poll, 60) as response:
            assert await response.read() == b"[]"
        with pytest.raises(OSError, match="hung up"):
            sockets((socket.AF_INET, socket.SOCK_STREAM, 0))
    server.close()


async def test_a_dead_engine_ends_the_worker(platform: RunningEmulator, start_worker: StartWorker) -> None:
    worker = start_worker(platform)
    await platform.polled()
    other = submit(platform, endless())
    await platform.streamed(other.id)
    fatal = submit(platform, chat(TEXT, echo_fault="die", echo_fault_after=2))
    assert await exit_code(worker) == 1
    assert "the engine is gone" in worker.log
    assert "engine" in msgspec.json.decode(other.chunks[-1])
    assert fatal.finished
    assert "Traceback" not in worker.log


@contextlib.asynccontextmanager
async def on_llamacpp(platform: RunningEmulator, start: StartWorker) -> AsyncIterator[WorkerProcess]:
    worker = start(platform, ENGINE="llamacpp", CTX_SIZE=2048, PARALLEL=4, THREADS=1)
    await platform.polled(timeout=90)
    yield worker


async def test_real_model(platform: RunningEmulator, start_worker: StartWorker) -> None:
    async with on_llamacpp(platform, start_worker) as worker, openai_client(platform) as client:
        model = (await client.models.list()).data[0].id
        messages = [{"role": "user", "content": "Say hello."}]
        stream = await client.chat.completions.create(  # type: ignore[call-overload]
            model=model, messages=messages, stream=True, max_tokens=12, temperature=0
        )
        streamed = "".join([event.choices[0].delta.content or "" async for event in stream if event.choices])
        whole = await client.chat.completions.create(
            model=model,
            messages=messages,  # type: ignore[arg-type]
            max_tokens=12,
            temperature=0,
        )
        assert streamed == whole.choices[0].message.content
        native = submit(platform, {"prompt": "Once upon a time", "sampling_params": {"max_tokens": 7, "top_k": 1}})
        await platform.finished(native.id)
        (output,) = msgspec.json.decode(native.output)
        assert output["choices"][0]["tokens"][0]
        assert output["usage"]["output"] == 7
        job = submit(platform, chat("Tell a story.", model=model, stream=True, max_tokens=1500, ignore_eos=True))
        await platform.streamed(job.id, 2)
        platform.emulator.cancel(job)
        await platform.until(lambda: worker.metric("llamacpp:requests_processing") == 0)
        worker.process.terminate()
        platform.emulator.end_polls()
        assert await exit_code(worker) == 0


async def test_sigkill_leaves_no_process(platform: RunningEmulator, start_worker: StartWorker) -> None:
    async with on_llamacpp(platform, start_worker) as worker:
        children = descendants(worker.process.pid)
        assert children
        worker.process.kill()
        await platform.until(lambda: not any(alive(pid) for pid in children))


def endless_params() -> dict[str, object]:
    return {"ignore_eos": True, "max_tokens": 100_000, "echo_tokens_per_s": 50}


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
