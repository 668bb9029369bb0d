"""Every shape of job, end to end: clients on the emulated platform, a real worker, the echo engine."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import msgspec
import openai
import pytest

from engineroom_workers.emulator.testing import RunningEmulator
from engineroom_workers.runpod.jobs import take_jobs
from engineroom_workers.runpod.platform import Outage

from .conftest import StartWorker, chat, openai_client, run, submit, text_of

TEXT = "Grüße an 東京 🗼 und alle anderen, die hier mitlesen"


async def test_openai_client_chats(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="echo", messages=[{"role": "user", "content": TEXT}])
    assert answer.choices[0].message.content == TEXT
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 10


async def test_openai_client_streams_whole_characters(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="echo",
        messages=[{"role": "user", "content": TEXT}],
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"echo_tokens_per_s": 200},
    )
    events = [event async for event in stream]
    pieces = [event.choices[0].delta.content or "" for event in events if event.choices]
    assert "".join(pieces) == TEXT
    assert not any("\ufffd" in piece for piece in pieces)
    assert events[-1].usage is not None


async def test_openai_client_lists_models_and_embeds(client: openai.AsyncOpenAI) -> None:
    assert [model.id for model in (await client.models.list()).data] == ["echo"]
    assert (await client.models.retrieve("echo")).id == "echo"
    assert len((await client.embeddings.create(model="echo", input="abc", encoding_format="float")).data) == 1


async def test_openai_client_completes(client: openai.AsyncOpenAI) -> None:
    assert (await client.completions.create(model="echo", prompt="once upon")).choices[0].text == "once upon"


@pytest.mark.parametrize("absent", [{}, {"openai_input": None}, {"openai_input": {}}])
async def test_get_route_without_a_body(shared: RunningEmulator, absent: dict[str, Any]) -> None:
    assert (await run(shared, {"openai_route": "/v1/models", **absent}))[0]["object"] == "list"


async def test_any_route_of_the_engine(shared: RunningEmulator) -> None:
    body = {"model": "echo", "input": "abc"}
    assert (await run(shared, {"route": "/v1/embeddings", "method": "POST", "body": body}))[0]["object"] == "list"
    assert (await run(shared, {"route": "/v1/embeddings", "body": body}))[0]["object"] == "list"
    assert (await run(shared, {"route": "v1/models"}))[0]["object"] == "list"
    assert (await run(shared, {"route": "/v1/models/echo", "method": "GET"}))[0]["id"] == "echo"


@pytest.mark.parametrize(
    "route",
    [
        "http://example.com/v1/models",
        "//example.com/v1/models",
        "/v1/../../etc/passwd",
        "/v1/%2e%2e/secret",
        "/v1/models\r\nX-Evil: 1",
        "/metrics.json",
        "/v1/models#x",
    ],
)
async def test_no_other_route(shared: RunningEmulator, route: str) -> None:
    (output,) = await run(shared, {"route": route})
    assert output["error"]["type"] == "invalid_request_error"


async def test_a_model_of_any_name_is_retrieved(platform: RunningEmulator, start_worker: StartWorker) -> None:
    """Whether the route comes as it stood in the URL, or with its escapes resolved."""
    start_worker(platform, OPENAI_SERVED_MODEL_NAME_OVERRIDE="org/Größe 7")
    await platform.polled()
    async with openai_client(platform) as client:
        assert (await client.models.retrieve("org/Größe 7")).id == "org/Größe 7"
    (model,) = await run(platform, {"route": "/v1/models/org%2FGr%C3%B6%C3%9Fe%207"})
    assert model["id"] == "org/Größe 7"


async def test_native_prompt(shared: RunningEmulator) -> None:
    (output,) = await run(shared, {"prompt": "hello world"})
    assert output["choices"] == [{"tokens": ["hello world"]}]
    assert output["usage"]["output"] > 1
    assert output["usage"]["input"] > 1


async def test_native_stream_has_pieces_and_cumulative_usage(shared: RunningEmulator) -> None:
    job = submit(shared, {"prompt": TEXT, "stream": True, "sampling_params": {"echo_tokens_per_s": 30}})
    await shared.finished(job.id)
    items = [decoded(chunk) for chunk in job.chunks]
    assert len(items) > 5
    assert "".join(piece for item in items for piece in item["choices"][0]["tokens"]) == TEXT
    outputs = [item["usage"]["output"] for item in items]
    assert outputs == sorted(outputs)
    (whole,) = await run(shared, {"prompt": TEXT})
    assert items[-1]["usage"] == whole["usage"]


async def test_native_messages_choices_and_default_length(shared: RunningEmulator) -> None:
    (output,) = await run(shared, {"messages": [{"role": "user", "content": "abc"}], "sampling_params": {"n": 2}})
    assert [choice["tokens"] for choice in output["choices"]] == [["abc"], ["(1) abc"]]
    (output,) = await run(shared, {"prompt": "tick ", "sampling_params": {"ignore_eos": True}})
    assert output["usage"]["output"] == 100


async def test_native_chat_template(shared: RunningEmulator) -> None:
    (plain,) = await run(shared, {"prompt": "abc"})
    (templated,) = await run(shared, {"prompt": "abc", "apply_chat_template": True})
    assert templated["choices"] == plain["choices"]
    assert templated["usage"]["input"] > plain["usage"]["input"]


async def test_native_in_the_other_shape(shared: RunningEmulator) -> None:
    """The output is the object itself, as workers with this format return it: no list of one."""
    output = await run(shared, {"prompt": "hello world", "output_format": "output"})
    (choice,) = output["output"]
    assert (choice["text"], choice["finish_reason"], output["model"]) == ("hello world", "stop", "echo")
    assert choice["tokens"] > 1


async def test_batch_sizes_grow(shared: RunningEmulator) -> None:
    value = {
        "prompt": "tick ",
        "stream": True,
        "max_batch_size": 9,
        "min_batch_size": 1,
        "batch_size_growth_factor": 3,
        "sampling_params": {"ignore_eos": True, "max_tokens": 30},
    }
    job = submit(shared, value)
    await shared.finished(job.id)
    sizes = [len(decoded(chunk)["choices"][0]["tokens"]) for chunk in job.chunks]
    assert sizes[:5] == [1, 3, 9, 9, 8]


async def test_batch_sizes_count_events_of_an_openai_stream(shared: RunningEmulator) -> None:
    job = submit(shared, {**chat(TEXT, stream=True), "max_batch_size": 4, "batch_size_growth_factor": 1})
    await shared.finished(job.id)
    assert [decoded(chunk).count("data: ") for chunk in job.chunks][:3] == [4, 4, 4]
    assert text_of(job.chunks) == TEXT


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ({}, "input"),
        ({"messages": []}, "messages"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": "a", "maxtokens": 5}, "maxtokens"),
        ({"prompt": "a", "sampling_params": {"topk": 5}}, "sampling_params.topk"),
        ({"prompt": "a", "sampling_params": {"temperature": "hot"}}, "temperature"),
        ({"prompt": "a", "max_batch_size": -1}, "max_batch_size"),
        ({"route": "/v1/models", "method": "GET", "body": {"a": 1}}, "body"),
        ({"route": "/v1/models", "method": "BREW"}, "method"),
    ],
)
async def test_wrong_jobs_are_told_what_is_wrong(shared: RunningEmulator, value: Any, param: str) -> None:
    (output,) = await run(shared, value)
    assert output["error"]["type"] == "invalid_request_error"
    assert output["error"]["param"] == param
    assert "Traceback" not in output["error"]["message"]


async def test_error_reaches_the_openai_client_without_a_retry_storm(shared: RunningEmulator) -> None:
    before = len(shared.emulator.jobs)
    async with openai_client(shared) as client:
        answer = await client.with_options(max_retries=3).chat.completions.create(
            model="nope", messages=[{"role": "user", "content": "a"}]
        )
    assert answer.model_extra is not None
    assert answer.model_extra["error"]["code"] == "model_not_found"
    assert len(shared.emulator.jobs) == before + 1


async def test_error_in_a_stream_is_raised_by_the_openai_client(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.APIError, match="does not exist") as caught:
        async for _ in await client.chat.completions.create(
            model="nope", messages=[{"role": "user", "content": "a"}], stream=True
        ):
            pass
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


async def test_error_amid_a_stream_comes_after_what_was_good(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="echo",
        messages=[{"role": "user", "content": TEXT}],
        stream=True,
        extra_body={"echo_fault": "error", "echo_fault_after": 3},
    )
    pieces: list[str] = []

    async def read() -> None:
        async for event in stream:
            pieces.append(event.choices[0].delta.content or "")

    with pytest.raises(openai.APIError, match=r"(?i)echo_fault=error"):
        await read()
    assert TEXT.startswith("".join(pieces))
    assert "".join(pieces)


async def test_runpods_own_client(shared: RunningEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    import runpod

    monkeypatch.setattr(runpod, "endpoint_url_base", shared.base_url)
    endpoint = runpod.Endpoint(shared.endpoint_id, api_key="any")
    output = await asyncio.to_thread(endpoint.run_sync, {"prompt": "hello"}, 90)
    assert output[0]["choices"] == [{"tokens": ["hello"]}]
    job = await asyncio.to_thread(endpoint.run, {"input": {"prompt": TEXT, "stream": True}})
    items = await asyncio.to_thread(lambda: list(job.stream()))
    assert "".join(piece for item in items for piece in item["choices"][0]["tokens"]) == TEXT
    assert await asyncio.to_thread(endpoint.run_sync, {"prompt": "a", "sampling_params": {"top": 1}}, 30)


async def test_a_native_stream_that_is_refused_says_so_to_who_reads_the_stream(shared: RunningEmulator) -> None:
    """RunPod's own client reads `/stream` alone: without an item it would see an empty answer that ended well."""
    job = submit(shared, {"prompt": "a", "stream": True, "sampling_params": {"topk": 1}})
    await shared.finished(job.id)
    (item,) = [decoded(chunk) for chunk in job.chunks]
    assert item["error"]["param"] == "sampling_params.topk"
    assert decoded(job.output) == [item]


async def test_failed_jobs_and_object_events_by_setting(platform: RunningEmulator, start_worker: StartWorker) -> None:
    start_worker(platform, JOB_ERRORS="failed", RAW_OPENAI_OUTPUT=0, NATIVE_OUTPUT_FORMAT="output")
    await platform.polled()
    wrong = submit(platform, chat("a", model="nope"))
    amid = submit(platform, chat(TEXT, stream=True, echo_fault="error", echo_fault_after=3))
    native = submit(platform, {"prompt": "a", "sampling_params": {"topk": 1}})
    good = submit(platform, chat("abc", stream=True))
    for job in (wrong, amid, native, good):
        await platform.finished(job.id)
    assert [job.status for job in (wrong, amid, native, good)] == ["FAILED", "FAILED", "FAILED", "COMPLETED"]
    for job in (wrong, amid, native):
        assert set(decoded(decoded(job.error))["error"]) == {"message", "type", "param", "code"}
    events = [event for chunk in good.chunks for event in decoded(chunk)]
    assert {event["object"] for event in events} == {"chat.completion.chunk"}


def decoded(raw: Any) -> Any:
    return msgspec.json.decode(raw)


async def test_jobs_of_a_batch_are_served_and_start_last(platform: RunningEmulator, start_worker: StartWorker) -> None:
    async with httpx.AsyncClient(base_url=platform.endpoint_url) as client:
        batch = (await client.post("/batch", json=[{"input": {"prompt": "b"}}, {"input": {"prompt": "c"}}])).json()
        await client.post(f"/batch/{batch['id']}/finalize")
        others = [submit(platform, {"prompt": "a"}) for _ in range(2)]
        start_worker(platform)
        for job in list(platform.emulator.jobs.values()):
            await platform.finished(job.id)
        summary = (await client.get(f"/batch/{batch['id']}")).json()
    assert (summary["requestCompleted"], summary["requestTotal"]) == (2, 2)
    assert [job.status for job in others] == ["COMPLETED", "COMPLETED"]
    of_batch = [job for job in platform.emulator.jobs.values() if job.batch_id]
    pool = Starts()
    jobs = [job.for_worker() for job in (*of_batch, *others)]
    await take_jobs(Offers(jobs, pool.stopping), pool, pool.stopping)  # type: ignore[arg-type]
    assert pool.started == [job.id for job in (*others, *of_batch)]


class Starts:
    """A stand-in for `JobPool` that notes the order of the jobs."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.stopping: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def wait_for_room(self) -> int:
        return 10

    def start(self, job: dict[str, Any]) -> bool:
        self.started.append(job["id"])
        return True


class Offers:
    """A stand-in for `Platform` that hands out jobs once."""

    def __init__(self, jobs: list[Any], stopping: asyncio.Future[None]) -> None:
        self._jobs = jobs
        self._stopping = stopping
        self.outage = Outage()

    async def take(self, max_jobs: int) -> list[Any]:
        self._stopping.set_result(None)
        return self._jobs
