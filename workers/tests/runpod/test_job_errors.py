"""Jobs that are wrong or interrupted: what their clients are told, the same on both loops."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import openai
import pytest

from engineroom.errors import APIError
from engineroom.settings import Environment, WorkerSettings
from engineroom_echo import EchoEngine
from engineroom_workers.emulator.jobs import Job, JobRequest
from engineroom_workers.emulator.testing import RunningEmulator, running_emulator
from engineroom_workers.runpod.handler import JobFailure, JobHandler
from engineroom_workers.runpod.settings import RunPodSettings

from .conftest import StartWorker, chat, endless, openai_client, submit, text_of, workers

LOOPS = ("engineroom", "sdk")


@pytest.fixture(scope="module", params=LOOPS)
async def either_loop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningEmulator]:
    """A platform with one worker, on our loop and on the SDK's."""
    async with running_emulator(hold=110) as running:
        with workers(tmp_path_factory.mktemp("either")) as start:
            start(running, JOB_LOOP=request.param, RUNPOD_LOG_LEVEL="ERROR")
            await running.polled()
            yield running


@pytest.fixture
async def platform() -> AsyncIterator[RunningEmulator]:
    """Polls end soon, since a worker that ends waits for its own."""
    async with running_emulator(hold=0.5) as running:
        yield running


def submit_text(platform: RunningEmulator, value: str) -> Job:
    """Queue a job whose input is this text, which need not be JSON as others read it."""
    return platform.emulator.submit(JobRequest(msgspec.Raw(value.encode())))


def nested(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


def in_body(part: str) -> str:
    return f'{{"openai_route": "/v1/chat/completions", "openai_input": {{"messages": [], {part}}}}}'


NOT_JSON = {
    "half a character in a prompt": r'{"prompt": "\ud83d"}',
    "in a route": r'{"route": "/v1/\udc00"}',
    "in the OpenAI route": r'{"openai_route": "/v1/\ud800models"}',
    "in a model's name": r'{"prompt": "a", "model": "\ud800"}',
    "in a key": r'{"prompt": "a", "\ud800": 1}',
    "in a parameter's name": r'{"prompt": "a", "sampling_params": {"\ud800": 1}}',
    "in a message": in_body(r'"messages": [{"role": "user", "content": [{"type": "text", "text": "\udfff"}]}]'),
    "in a stream": in_body(r'"stream": true, "user": "\ud800"'),
    "as the whole input": r'"\ud800"',
    "in a list": r'["\ud800"]',
    "no number": '{"prompt": "a", "sampling_params": {"temperature": NaN}}',
    "infinity": in_body('"temperature": Infinity'),
    "minus infinity": in_body('"logit_bias": {"1": -Infinity}'),
    "digits without end": in_body(f'"seed": {"9" * 5000}'),
    "a number as the whole input": "NaN",
    "nested": in_body(f'"metadata": {nested(120)}'),
    "nested as the input": nested(101),
    "nested deeper than Python reads": in_body(f'"metadata": {nested(20_000)}'),
    "lists nested so": in_body(f'"stop": {"[" * 9000}"]" {"]" * 9000}'),
}


async def test_text_that_is_no_json_is_refused_at_the_door(either_loop: RunningEmulator) -> None:
    jobs = {name: submit_text(either_loop, value) for name, value in NOT_JSON.items()}
    deepest = submit_text(either_loop, in_body(f'"metadata": {nested(50)}'))
    for name, job in jobs.items():
        await either_loop.finished(job.id)
        assert job.status == "COMPLETED", name
        error = error_of(job)
        assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_json"), (name, error)
        assert "input of your job" in error["message"], (name, error)
    await either_loop.finished(deepest.id)
    assert error_of(deepest)["code"] != "invalid_json"


async def test_an_input_that_is_too_large_is_refused(platform: RunningEmulator, start_worker: StartWorker) -> None:
    start_worker(platform, MAX_REQUEST_MB=0.01)
    await platform.polled()
    for value in (chat("long " * 4000), {"prompt": "long " * 4000}):
        job = submit(platform, value)
        await platform.finished(job.id)
        assert error_of(job)["code"] == "request_too_large"


async def test_an_error_is_an_object_of_the_output(either_loop: RunningEmulator) -> None:
    for value in (chat("a", model="nope"), {"route": "/v1/nothing"}, {"prompt": "a", "sampling_params": {"topk": 1}}):
        job = submit(either_loop, value)
        await either_loop.finished(job.id)
        (item,) = msgspec.json.decode(job.output)
        assert item["error"]["type"] == "invalid_request_error"


def error_of(job: Job) -> dict[str, Any]:
    """The error in a job's output: an object, or an event of its stream."""
    (item,) = msgspec.json.decode(job.output)
    body = msgspec.json.decode(item.partition("data: ")[2]) if isinstance(item, str) else item
    error: dict[str, Any] = body["error"]
    return error


def failure_of(job: Job) -> dict[str, Any]:
    """The error of a FAILED job, which is JSON as text."""
    assert job.status == "FAILED"
    error: dict[str, Any] = msgspec.json.decode(msgspec.json.decode(job.error))["error"]
    return error


@pytest.mark.parametrize("job_errors", ["completed", "failed"])
async def test_a_drains_end_is_no_answer(platform: RunningEmulator, start_worker: StartWorker, job_errors: str) -> None:
    worker = start_worker(platform, DRAIN_TIMEOUT=0.3, JOB_ERRORS=job_errors)
    await platform.polled()
    streamed = {
        "chat": submit(platform, endless()),
        "messages": submit(platform, messages_job(stream=True)),
        "native": submit(platform, {**NATIVE, "stream": True}),
    }
    for job in streamed.values():
        await platform.streamed(job.id)
    silent = {
        "chat": submit(platform, {**endless(), "openai_input": {**endless()["openai_input"], "stream": False}}),
        "messages": submit(platform, messages_job(stream=False)),
        "native": submit(platform, NATIVE),
        "late": submit(platform, endless(echo_ttft_ms=100_000)),
    }
    for job in silent.values():
        await platform.until(lambda job=job: job.status == "IN_PROGRESS")  # type: ignore[misc]
    worker.process.send_signal(signal.SIGTERM)
    for name, job in streamed.items():
        await platform.finished(job.id)
        assert "shutting down" in failure_of(job)["message"], name
        assert b"shutting down" in bytes(job.chunks[-1]), name
        assert b"shutting down" not in b"".join(bytes(chunk) for chunk in job.chunks[:-1]), name
    for name, job in silent.items():
        await platform.finished(job.id)
        assert "shutting down" in failure_of(job)["message"], name
        assert not job.chunks, name
    assert await asyncio.to_thread(worker.process.wait, 60) == 0


@pytest.mark.parametrize("loop", LOOPS)
async def test_an_engines_death_is_no_answer(platform: RunningEmulator, start_worker: StartWorker, loop: str) -> None:
    worker = start_worker(platform, JOB_LOOP=loop, RUNPOD_LOG_LEVEL="ERROR")
    await platform.polled()
    streamed = submit(platform, endless())
    await platform.streamed(streamed.id)
    silent = submit(platform, NATIVE)
    await platform.until(lambda: silent.status == "IN_PROGRESS")
    fatal = submit(platform, chat("the last words", echo_fault="die"))
    assert await asyncio.to_thread(worker.process.wait, 60) == 1
    for job in (streamed, silent, fatal):
        await platform.finished(job.id)
        assert "The engine is gone" in failure_of(job)["message"]
    assert b"The engine is gone" in bytes(streamed.chunks[-1])
    assert "tick".startswith(text_of(streamed.chunks[:-1])[:4])


ENDLESS = {"ignore_eos": True, "max_tokens": 100_000, "echo_tokens_per_s": 50}
NATIVE = {"prompt": "tick ", "sampling_params": ENDLESS}


def messages_job(*, stream: bool) -> dict[str, Any]:
    body = {"model": "echo", "messages": [{"role": "user", "content": "tick "}], **ENDLESS, "stream": stream}
    return {"openai_route": "/v1/messages", "openai_input": body}


async def test_what_openais_client_makes_of_each_error(platform: RunningEmulator, start_worker: StartWorker) -> None:
    """The table of docs/runpod.md, "Errors"."""
    start_worker(platform)
    failing = running_emulator(hold=110)
    messages: Any = [{"role": "user", "content": "a"}]
    async with failing as other:
        start_worker(other, JOB_ERRORS="failed")
        await platform.polled()
        await other.polled()
        async with openai_client(platform) as client, openai_client(other) as failed:
            answer = await client.chat.completions.create(model="nope", messages=messages)
            assert answer.choices is None
            assert answer.model_extra is not None
            assert answer.model_extra["error"]["code"] == "model_not_found"
            with pytest.raises(openai.APIError, match="does not exist") as caught:
                async for _ in await client.chat.completions.create(model="nope", messages=messages, stream=True):
                    pass
            assert caught.value.code == "model_not_found"
            for stream in (False, True):
                before = len(other.emulator.jobs)
                with pytest.raises(openai.InternalServerError):
                    await failed.with_options(max_retries=1).chat.completions.create(
                        model="nope", messages=messages, stream=stream
                    )
                assert len(other.emulator.jobs) == before + 2
            amid = await failed.chat.completions.create(
                model="echo",
                messages=[{"role": "user", "content": "some words before the end"}],
                stream=True,
                extra_body={"echo_fault": "error", "echo_fault_after": 3, "echo_tokens_per_s": 20},
            )
            with pytest.raises(openai.APIError, match="echo_fault"):
                async for _ in amid:
                    pass


@pytest.mark.parametrize("loop", LOOPS)
async def test_every_job_has_its_line_without_its_content(
    platform: RunningEmulator, start_worker: StartWorker, loop: str
) -> None:
    worker = start_worker(platform, JOB_LOOP=loop, RUNPOD_LOG_LEVEL="ERROR", LOG_FORMAT="json")
    await platform.polled()
    jobs = {
        "chat": submit(platform, chat("a private question")),
        "stream": submit(platform, chat("a private question", stream=True)),
        "native": submit(platform, {"prompt": "a private question"}),
        "unknown model": submit(platform, chat("a private question", model="nope")),
        "refused": submit(platform, {"prompt": "a private question", "sampling_params": {"topk": 1}}),
        "cancelled": submit(platform, endless()),
    }
    await platform.streamed(jobs["cancelled"].id)
    platform.emulator.cancel(jobs["cancelled"])
    for job in jobs.values():
        await platform.finished(job.id)

    def lines() -> dict[str, dict[str, Any]]:
        entries = [msgspec.json.decode(line) for line in worker.log.splitlines() if line.startswith("{")]
        return {entry["id"]: entry for entry in entries if entry["message"] == "job"}

    await platform.until(lambda: lines().keys() >= {job.id for job in jobs.values()}, state=lambda: worker.log)
    line_of = {name: lines()[job.id] for name, job in jobs.items()}
    for name, line in line_of.items():
        assert line["level"] == "INFO"
        assert line["seconds"] >= line.get("first_seconds", 0) >= 0, name
    for name in ("chat", "stream", "native"):
        assert line_of[name]["status"] == "COMPLETED"
        assert line_of[name]["prompt_tokens"] > 1
        assert line_of[name]["completion_tokens"] > 1
    assert "first_seconds" in line_of["stream"]
    assert line_of["chat"]["route"] == "/v1/chat/completions"
    assert line_of["native"]["route"] == "native"
    assert line_of["unknown model"]["error"] == "model_not_found"
    assert line_of["refused"]["error"] == "unknown_parameter"
    assert line_of["cancelled"]["status"] == "CANCELLED"
    assert "private" not in worker.log


class LateEngine(EchoEngine):
    """As vLLM does: it answers that a part of it has died, and ends a moment later."""

    death_lag = 30.0

    async def _fail(self, fault: str) -> None:
        asyncio.get_running_loop().call_later(0.2, self.die, "its core has died")
        raise APIError("EngineCore encountered an issue.", status=500)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_end_that_is_seen_after_the_last_error_is_no_answer(stream: bool) -> None:
    env = Environment.of({"MODEL_NAME": "echo"})
    engine = LateEngine.configure(WorkerSettings.load(env), env)
    await engine.start()
    job = {"id": "1", "input": chat("some words", stream=stream, echo_fault="error", echo_fault_after=2)}
    with pytest.raises(JobFailure, match="EngineCore"):
        async for _ in JobHandler(engine, RunPodSettings()).respond(job).items:
            pass
    await engine.stop()
