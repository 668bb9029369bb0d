"""What every engine owes at both doors, as pytest's tests. A test module imports all of it, and has two fixtures:

    from engineroom_workers.testing import DoorExpectations
    from engineroom_workers.testing.suite import *

    @pytest.fixture(scope="module")
    def worker():
        return {"ENGINE": "mine", "MODEL_NAME": "org/model"}

    @pytest.fixture(scope="module")
    def door_expectations():
        return DoorExpectations(models=("org/model",), running_metric="mine_running")

`worker` has the settings of a worker, as environment variables. With these the HTTP door and a worker of an emulated
RunPod endpoint are started, once for a module, each as a process of its own; OpenAI's own client asks both. Modules
with tests of their own use the fixtures `http_url`, `runpod`, `url` (a client's `base_url`, at each door) and `client`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import httpx
import openai
import pytest

from engineroom.process import descendants
from engineroom.testing import stopped
from engineroom.timeouts import timeout

from ..emulator.testing import RunningEmulator, running_emulator
from .door import COMMAND, Door, serving
from .expectations import DoorExpectations
from .reading import reading

__all__ = [
    "QUESTION",
    "anyio_backend",
    "client",
    "http_door",
    "http_url",
    "queue_worker",
    "runpod",
    "test_a_cancelled_job_stops_costing",
    "test_a_native_job_takes_the_engine_s_sampling_parameters",
    "test_a_prompt_that_is_too_long_is_told_as_such",
    "test_a_stream_that_a_client_leaves_stops_costing",
    "test_an_engine_that_hangs_is_noticed",
    "test_chat_whole_and_streamed",
    "test_completions",
    "test_every_served_model_is_listed_and_retrieved",
    "test_the_engine_s_metrics_are_joined_to_the_door_s",
    "url",
]

_QUICK = {"ENGINE_HANG_TIMEOUT": "20"}
"""A tenth of it passes before a hang is noticed."""

QUESTION: Any = [{"role": "user", "content": "What is 2+2?"}]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """asyncio, which the emulator runs on here."""
    return "asyncio"


class EmulatedWorker(NamedTuple):
    """A worker of ours and the emulated endpoint that it works for."""

    platform: RunningEmulator
    process: asyncio.subprocess.Process


@pytest.fixture(scope="module")
def http_door(worker: dict[str, str]) -> Iterator[Door]:
    """The HTTP door."""
    with serving({**_QUICK, **worker}, seconds=120) as door:
        yield door


@pytest.fixture(scope="module")
def http_url(http_door: Door) -> str:
    """The HTTP door's address."""
    return http_door.url


@pytest.fixture(scope="module")
async def queue_worker(anyio_backend: str, worker: dict[str, str]) -> AsyncIterator[EmulatedWorker]:
    """The RunPod door: an emulated endpoint with one worker of ours."""
    async with running_emulator() as platform:
        process = await asyncio.create_subprocess_exec(
            COMMAND, "runpod", env={**os.environ, **_QUICK, **worker, **platform.worker_environment()}
        )
        try:
            await platform.polled(timeout=120)
            yield EmulatedWorker(platform, process)
        finally:
            if process.returncode is None:
                process.terminate()
            platform.emulator.end_polls()
            async with timeout(60):
                await process.wait()
    assert process.returncode == 0, f"a worker that is stopped ends with 0; it ended with {process.returncode}"


@pytest.fixture(scope="module")
def runpod(queue_worker: EmulatedWorker) -> RunningEmulator:
    """The RunPod door's endpoint."""
    return queue_worker.platform


@pytest.fixture(params=["http", "runpod"])
async def url(request: pytest.FixtureRequest, http_url: str, runpod: RunningEmulator) -> str:
    """An OpenAI client's `base_url` at each door."""
    return f"{http_url}/v1" if request.param == "http" else runpod.openai_url


@pytest.fixture
async def client(url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's own client at each door."""
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0, timeout=90) as client:
        yield client


@pytest.mark.anyio
async def test_chat_whole_and_streamed(client: openai.AsyncOpenAI, door_expectations: DoorExpectations) -> None:
    asked = door_expectations.fields
    answer = await client.chat.completions.create(messages=QUESTION, **asked)
    text = answer.choices[0].message.content
    expected = door_expectations.answer or text
    assert text, f"a chat's answer has text: {answer}"
    assert text == expected, f"the model says {expected!r}, not {text!r}"
    assert answer.usage is not None, f"an answer has usage: {answer}"
    stream = await client.chat.completions.create(
        messages=QUESTION, stream=True, stream_options={"include_usage": True}, **asked
    )
    chunks = [chunk async for chunk in stream]
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert streamed == expected, f"streamed the model says the same, {expected!r}, not {streamed!r}"
    usage = chunks[-1].usage
    assert usage is not None, f"a stream's last event has the usage that was asked for: {chunks[-1]}"
    tokens = answer.usage.completion_tokens
    assert usage.completion_tokens == tokens, f"a stream counts {tokens} tokens, as a whole answer does: {usage}"


@pytest.mark.anyio
async def test_completions(client: openai.AsyncOpenAI, door_expectations: DoorExpectations) -> None:
    own = dict(door_expectations.sampling_params)
    answer = await client.completions.create(prompt="1 2 3 4 5 6 7", extra_body=own, **door_expectations.fields)
    text = answer.choices[0].text
    expected = door_expectations.continuation or ""
    assert text, f"a completion has text: {answer}"
    assert text.startswith(expected), f"the completion begins with {expected!r}: {text!r}"


@pytest.mark.anyio
async def test_every_served_model_is_listed_and_retrieved(
    client: openai.AsyncOpenAI, door_expectations: DoorExpectations
) -> None:
    listed = [model.id async for model in client.models.list()]
    assert listed == list(door_expectations.models), f"the models served are listed in their order: {listed}"
    for name in door_expectations.models:
        retrieved = (await client.models.retrieve(name)).id
        assert retrieved == name, f"the model {name} can be retrieved by its name; {retrieved} came"


@pytest.mark.anyio
async def test_a_prompt_that_is_too_long_is_told_as_such(http_url: str, door_expectations: DoorExpectations) -> None:
    if door_expectations.max_model_len is None:
        pytest.skip("max_model_len is not known")
    prompt = "one two " * (3 * door_expectations.max_model_len // 2)
    async with openai.AsyncOpenAI(base_url=f"{http_url}/v1", api_key="none", max_retries=0) as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.completions.create(prompt=prompt, **door_expectations.fields)
    code = refused.value.code
    assert code == "context_length_exceeded", f"a prompt that is too long has that code, not {code!r}: {refused.value}"


@pytest.mark.anyio
async def test_a_stream_that_a_client_leaves_stops_costing(http_url: str, door_expectations: DoorExpectations) -> None:
    async with openai.AsyncOpenAI(base_url=f"{http_url}/v1", api_key="none", max_retries=0) as client:
        stream = await client.chat.completions.create(
            model=door_expectations.models[0],
            messages=QUESTION,
            stream=True,
            extra_body=dict(door_expectations.endless),
        )
        async with reading(stream):
            await _until_running(http_url, door_expectations, 1)
    await _until_running(http_url, door_expectations, 0)


@pytest.mark.anyio
async def test_a_cancelled_job_stops_costing(
    http_url: str, runpod: RunningEmulator, door_expectations: DoorExpectations
) -> None:
    asked = {"prompt": "Count", "sampling_params": dict(door_expectations.endless), "stream": True}
    async with httpx.AsyncClient(base_url=runpod.endpoint_url, timeout=90) as client:
        job = (await client.post("/run", json={"input": asked})).json()["id"]
        await runpod.streamed(job)
        if door_expectations.shared:
            await _until_running(http_url, door_expectations, 1)
        await client.post(f"/cancel/{job}")
        await _until_running(http_url, door_expectations, 0)
        short = {"input": {"prompt": "Count", "sampling_params": {"max_tokens": 3}}}
        done = (await client.post("/runsync", json=short)).json()
    assert done["status"] == "COMPLETED", f"after a cancelled job the next one is completed: {done}"


@pytest.mark.anyio
async def test_a_native_job_takes_the_engine_s_sampling_parameters(
    runpod: RunningEmulator, door_expectations: DoorExpectations
) -> None:
    sampling = {"temperature": 0, "max_tokens": 20, **door_expectations.sampling_params}
    # What a job gets without a format depends on the engine's defaults.
    job = {"input": {"messages": QUESTION, "sampling_params": sampling, "output_format": "choices"}}
    async with httpx.AsyncClient(base_url=runpod.endpoint_url, timeout=90) as client:
        done = (await client.post("/runsync", json=job)).json()
    assert done["status"] == "COMPLETED", f"a native job with sampling_params={sampling} is completed: {done}"
    output = done["output"][0]
    texts = output["choices"][0]["tokens"]
    expected = [door_expectations.answer] if door_expectations.answer else texts
    assert any(texts), f"a native job's output has text: {done}"
    assert texts == expected, f"the model says {expected}, not {texts}"
    least = 8 if door_expectations.answer else 1
    assert output["usage"]["output"] >= least, f"a native job's usage counts at least {least} tokens: {done}"


@pytest.mark.anyio
async def test_an_engine_that_hangs_is_noticed(
    http_door: Door, queue_worker: EmulatedWorker, door_expectations: DoorExpectations
) -> None:
    """Its processes are stopped behind both doors (SIGSTOP): no requests, no jobs. Then all goes on, and nothing is
    lost."""
    pids = [pid for door in (http_door, queue_worker) for pid in descendants(door.process.pid)]
    if not pids:
        pytest.skip("the engine has no processes of its own")
    platform = queue_worker.platform
    jobs = []
    with stopped(pids):
        await asyncio.to_thread(http_door.until, 503)
        async with httpx.AsyncClient(base_url=http_door.url, timeout=60) as client:
            health = (await client.get("/health")).json()
            assert health["live"], f"an engine that hangs may yet go on: {health}"
            assert "not responding" in health["reason"], f"/health says why the engine gets no requests: {health}"
            body = {"model": door_expectations.models[0], "messages": QUESTION}
            refused = await client.post("/v1/chat/completions", json=body)
            assert refused.status_code == 503, f"an engine that hangs gets no requests: {refused.text}"
            assert "retry-after" in refused.headers, f"a client is told when to come again: {refused.headers}"
            await client.get("/metrics")
        async with httpx.AsyncClient(base_url=platform.endpoint_url, timeout=60) as client:
            for _ in range(60):
                short = {"input": {"prompt": "Count", "sampling_params": {"max_tokens": 3}}}
                jobs.append((await client.post("/run", json=short)).json()["id"])
                await asyncio.sleep(0.5)
                if platform.emulator.jobs[jobs[-1]].status == "IN_QUEUE":
                    break
            else:
                pytest.fail("a worker whose engine hangs takes no more jobs; it went on for half a minute")
    await asyncio.to_thread(http_door.until, 200)
    for job in jobs:
        done = await platform.finished(job)
        assert done.status == "COMPLETED", f"a job that waited for the engine is completed: {done.status}"


@pytest.mark.anyio
async def test_the_engine_s_metrics_are_joined_to_the_door_s(
    http_url: str, door_expectations: DoorExpectations
) -> None:
    async with httpx.AsyncClient(base_url=http_url, timeout=60) as client:
        text = (await client.get("/metrics")).text
    assert "engineroom" in text, f"/metrics has the door's own metrics: {text[:500]}"
    metric = door_expectations.running_metric or ""
    assert metric in text, f"/metrics has the engine's {metric}: {text[:500]}"


async def _until_running(http_url: str, expectations: DoorExpectations, number: int) -> None:
    """Wait for the engine's own gauge, which some set a moment after a step. Skips where there is no gauge."""
    metric = expectations.running_metric
    if metric is None:
        pytest.skip("no metric of running generations is known")
    running = -1.0
    async with httpx.AsyncClient(base_url=http_url, timeout=60) as client:
        for _ in range(600):
            lines = (await client.get("/metrics")).text.splitlines()
            counts = [line.split()[-1] for line in lines if line.startswith((f"{metric} ", f"{metric}{{"))]
            running = sum(map(float, counts))
            if running == number:
                return
            await asyncio.sleep(0.05)
    pytest.fail(f"{metric} was to be {number}; it is {running:g}")
