"""Jobs as clients of worker-vllm, worker-sglang and worker-FastDeploy send them, to a worker that takes their place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from engineroom_workers.emulator.testing import RunningEmulator, running_emulator

from .conftest import StartWorker, WorkerProcess, run, submit, text_of, workers

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
ADD = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}


@dataclass
class Replacement:
    """A platform whose worker has taken the place of a worker-vllm of 2.25."""

    platform: RunningEmulator
    worker: WorkerProcess

    async def run(self, value: Any) -> Any:
        """The one item of a job's output."""
        (item,) = await run(self.platform, value)
        return item

    async def items(self, value: Any) -> list[Any]:
        """A stream's items."""
        job = submit(self.platform, value)
        await self.platform.finished(job.id)
        return [msgspec.json.decode(chunk) for chunk in job.chunks]


@pytest.fixture(scope="module")
async def newest(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replacement]:
    async with running_emulator(hold=110) as platform:
        with workers(tmp_path_factory.mktemp("newest")) as start:
            worker = start(platform, COMPATIBILITY="worker-vllm-2.25.2", UNKNOWN_FIELDS="warn")
            await platform.polled()
            yield Replacement(platform, worker)


@pytest.mark.parametrize(
    "value",
    [
        {"messages": QUESTION, "sampling_params": {"max_tokens": 100, "temperature": 0.7}},
        {"messages": QUESTION, "max_tokens": 100, "temperature": 0.7, "model": "echo"},
        {"messages": QUESTION, "prompt": "is not looked at", "use_openai_format": 1, "batch_size": 30},
        {"prompt": QUESTION[0]["content"], "apply_chat_template": "true", "sampling_params": {"max_tokens": "100"}},
        {"openai_input": {"messages": QUESTION, "max_tokens": 200, "temperature": 0.1}},
        {"openai_route": "/v1/chat/completions/", "openai_input": {"messages": QUESTION, "n": "1", "stream": 0}},
        {"route": "/v1/chat/completions", "method": "post", "body": {"messages": QUESTION, "model": None}},
    ],
    ids=lambda value: ", ".join(value),
)
async def test_a_chat_is_answered_in_openai_s_form(newest: Replacement, value: Any) -> None:
    answer = await newest.run(value)
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"]["content"] == QUESTION[0]["content"]


@pytest.mark.parametrize(
    "value",
    [
        {"prompt": "The capital of France is", "sampling_params": {"max_tokens": 64, "temperature": 0.0}},
        {"text": "The capital of France is", "sampling_params": {"max_new_tokens": 64, "temperature": 0.0}},
        {"prompt": "The capital of France is", "max_tokens": 64, "top_p": None, "messages": None},
    ],
    ids=["worker-vllm", "worker-sglang", "worker-FastDeploy"],
)
async def test_a_prompt_is_answered_in_openai_s_form(newest: Replacement, value: Any) -> None:
    answer = await newest.run(value)
    assert (answer["object"], answer["choices"][0]["text"]) == ("text_completion", "The capital of France is")


async def test_a_native_stream_is_openai_s_events(newest: Replacement) -> None:
    job = submit(newest.platform, {"messages": QUESTION, "stream": True, "sampling_params": {"max_tokens": 500}})
    await newest.platform.finished(job.id)
    assert text_of(job.chunks) == QUESTION[0]["content"]
    assert msgspec.json.decode(job.chunks[-1]).endswith("data: [DONE]\n\n")


async def test_an_error_of_such_a_stream_is_an_event(newest: Replacement) -> None:
    for wrong in ({"model": "nope"}, {"sampling_params": {"temperature": "hot"}}, {"output_format": "xml"}):
        (item,) = await newest.items({"messages": QUESTION, "stream": True, **wrong})
        error = item if wrong == {"output_format": "xml"} else msgspec.json.decode(item.removeprefix("data: "))
        assert error["error"]["type"] == "invalid_request_error"


async def test_up_to_2_23_a_job_ends_after_a_hundred_tokens_and_since_then_as_the_engine_does(
    newest: Replacement, shared: RunningEmulator
) -> None:
    value = {"messages": [{"role": "user", "content": "tick " * 150}]}
    assert (await newest.run(value))["usage"]["completion_tokens"] > 100
    (older,) = await run(shared, value)
    assert older["usage"]["output"] == 100


async def test_tools_are_called(newest: Replacement) -> None:
    question = [{"role": "user", "content": "add"}]
    answer = await newest.run({"messages": question, "tools": [ADD], "metadata": {"a": "b"}})
    assert answer["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "add"


async def test_several_prompts_have_a_choice_each(newest: Replacement) -> None:
    answer = await newest.run({"prompt": ["one", "two"]})
    assert [choice["text"] for choice in answer["choices"]] == ["one", "two"]
    older = await newest.run({"prompt": ["one", "two"], "output_format": "choices"})
    assert older["choices"] == [{"tokens": ["one"]}, {"tokens": ["two"]}]


async def test_the_door_s_own_routes_are_answered(newest: Replacement) -> None:
    health = await newest.run({"route": "/health"})
    assert (health["ready"], health["engine"], health["models"]) == (True, "echo", ["echo"])
    assert await newest.run({"openai_route": "/ping/"}) == "ready"
    assert "engineroom_echo_tokens_total" in await newest.run({"route": "metrics", "method": "get"})
    assert (await newest.run({"route": "/v1/models"}))["object"] == "list"
    elsewhere = await newest.run({"route": "/metrics.json"})
    assert "of the HTTP door" in elsewhere["error"]["message"]
    assert (await newest.run({"route": "/health", "body": {"a": 1}}))["error"]["code"] == "method_not_supported"


@pytest.mark.parametrize(
    "value",
    [
        {"messages": QUESTION, "sampling_params": {"guided_foo": 1}},
        {"messages": QUESTION, "guided_foo": 1},
        {"openai_route": "/v1/chat/completions", "openai_input": {"messages": QUESTION, "guided_foo": 1}},
        {"route": "/v1/chat/completions", "body": {"messages": QUESTION, "guided_foo": 1}},
    ],
    ids=["parameter", "beside", "openai", "route"],
)
async def test_an_unknown_field_is_only_warned_of(newest: Replacement, value: Any) -> None:
    before = newest.worker.log.count("guided_foo")
    assert (await newest.run(value))["object"] == "chat.completion"
    assert newest.worker.log.count("guided_foo") == before + 1


async def test_what_the_engine_cannot_do_is_refused_all_the_same(newest: Replacement) -> None:
    answer = await newest.run({"messages": QUESTION, "use_beam_search": True})
    assert "leave it out" in answer["error"]["message"]


async def test_settings_win_over_the_level(platform: RunningEmulator, start_worker: StartWorker) -> None:
    level = {"COMPATIBILITY": "worker-vllm-2.28", "NATIVE_OUTPUT_FORMAT": "choices", "NATIVE_MAX_TOKENS": 3}
    start_worker(platform, **level, RAW_OPENAI_OUTPUT=0)
    await platform.polled()
    (output,) = await run(platform, {"prompt": "one two three four"})
    assert output["usage"]["output"] == 3
    job = submit(platform, {"prompt": "one", "stream": True, "output_format": "openai"})
    await platform.finished(job.id)
    events = [event for chunk in job.chunks for event in msgspec.json.decode(chunk)]
    assert {event["object"] for event in events} == {"text_completion"}
