"""A queue worker with several models: a job's `model` picks, in every shape of job."""

from __future__ import annotations

import asyncio
import json

import msgspec

from engineroom_workers.emulator.testing import RunningEmulator

from .conftest import StartWorker, openai_client, run, submit

MODELS = [
    {"name": "a", "engine": "echo", "memory": "1 GB"},
    {"name": "b", "engine": "echo", "memory": "1 GB", "aliases": ["org/b"], "echo_start_s": 0.3},
    {"name": "broken", "engine": "echo", "memory": "1 GB", "echo_fault": "start"},
]
ROOM_FOR_ONE = {"ENGINE": "", "MODELS": json.dumps(MODELS), "MODELS_MEMORY_GB": "1"}
HELLO = {"messages": [{"role": "user", "content": "Hello"}]}


async def test_a_job_s_model_picks_in_every_shape(platform: RunningEmulator, start_worker: StartWorker) -> None:
    worker = start_worker(platform, **ROOM_FOR_ONE)
    await platform.polled()
    async with openai_client(platform) as client:
        assert [model.id for model in (await client.models.list()).data] == ["a", "b", "org/b", "broken"]
        for name in ("b", "a", "org/b"):
            answer = await client.chat.completions.create(model=name, **HELLO)  # type: ignore[call-overload]
            assert (answer.model, answer.choices[0].message.content) == (name, "Hello")
    for name in ("a", "b"):
        (native,) = await run(platform, {**HELLO, "model": name, "output_format": "openai"})
        assert native["model"] == name
        (routed,) = await run(platform, {"route": "/v1/chat/completions", "body": {**HELLO, "model": name}})
        assert routed["model"] == name
        (choices,) = await run(platform, {**HELLO, "model": name, "output_format": "choices"})
        assert "".join(choices["choices"][0]["tokens"]) == "Hello"
    (unsaid,) = await run(platform, {**HELLO, "output_format": "openai"})
    assert unsaid["model"] == "a"
    (unknown,) = await run(platform, {**HELLO, "model": "nobody", "output_format": "openai"})
    assert unknown["error"]["code"] == "model_not_found"
    assert worker.process.poll() is None


async def test_jobs_for_different_models_run_side_by_side_and_none_is_lost(
    platform: RunningEmulator, start_worker: StartWorker
) -> None:
    """A model that cannot be loaded fails its own jobs with the reason, and no others'."""
    start_worker(platform, **ROOM_FOR_ONE)
    await platform.polled()
    names = ["a", "b", "broken"] * 6
    jobs = [submit(platform, {**HELLO, "model": name, "output_format": "openai"}) for name in names]
    ended = [await platform.finished(job.id) for job in jobs]
    for name, job in zip(names, ended, strict=True):
        assert job.status == "COMPLETED"
        (output,) = msgspec.json.decode(job.output or b"[]")
        if name == "broken":
            assert output["error"]["code"] == "model_not_loaded"
            assert "ECHO_FAULT=start" in output["error"]["message"]
        else:
            assert output["model"] == name


async def test_operators_ask_by_jobs(platform: RunningEmulator, start_worker: StartWorker) -> None:
    start_worker(platform, **ROOM_FOR_ONE)
    await platform.polled()
    (loaded,) = await run(platform, {"route": "/v1/models/b/load", "method": "POST"})
    assert (loaded["model"], loaded["state"]) == ("b", "resident")
    (running,) = await run(platform, {"route": "/running"})
    assert [model["model"] for model in running["running"]] == ["b"]
    (health,) = await run(platform, {"route": "/health"})
    assert [model["name"] for model in health["residence"]] == ["a", "b", "broken"]
    (unloaded,) = await run(platform, {"route": "/v1/models/b/unload", "method": "POST"})
    assert unloaded["state"] == "absent"
    (metrics,) = await run(platform, {"route": "/metrics"})
    assert 'engineroom_model_loads_total{model="b"} 1' in metrics


async def test_a_stream_that_waits_for_its_model_comes_whole(
    platform: RunningEmulator, start_worker: StartWorker
) -> None:
    start_worker(platform, **ROOM_FOR_ONE)
    await platform.polled()
    async with openai_client(platform) as client:

        async def streamed(name: str) -> str:
            stream = await client.chat.completions.create(model=name, stream=True, **HELLO)  # type: ignore[call-overload]
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

        assert await asyncio.gather(*(streamed(name) for name in ("a", "b", "a", "b"))) == ["Hello"] * 4
