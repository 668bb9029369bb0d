"""What the engine does to requests and answers, over one stand-in for `max serve`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from engineroom.asgi import request
from engineroom.openai.sse import payloads
from engineroom.testing import running
from engineroom_max.engine import MAXEngine

from .asking import CHAT, COMPLETIONS, TOOLS, ask, seen
from .conftest import over_standin, standin


@pytest.fixture(scope="module")
async def engine(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MAXEngine]:
    command = standin(tmp_path_factory.mktemp("max"))
    with pytest.MonkeyPatch.context() as patch:
        made = over_standin(patch, command, OPENAI_SERVED_MODEL_NAME_OVERRIDE="a,b", DEVICES="cpu")
        async with running(made) as engine:
            yield engine


async def test_an_alias_that_its_list_lacks_is_listed_and_retrieved(engine: MAXEngine) -> None:
    async def get(path: str) -> tuple[int, Any]:
        async with request(engine.app, "GET", path) as answer:
            return answer.status, msgspec.json.decode(await answer.read())

    assert [model["id"] for model in (await get("/v1/models"))[1]["data"]] == ["a", "b"]
    for name in ("a", "b"):
        assert (await get(f"/v1/models/{name}"))[1]["id"] == name
    status, told = await get("/v1/models/c")
    assert (status, told["error"]["code"]) == (404, "model_not_found")


async def test_both_names_are_the_one_that_max_knows(engine: MAXEngine) -> None:
    assert (await seen(engine, model="b"))["model"] == "a"


async def test_several_choices_are_several_requests(engine: MAXEngine) -> None:
    status, answer = await ask(engine, n=3, max_tokens=2)
    assert status == 200
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert answer["usage"]["completion_tokens"] == 9
    assert answer["usage"]["prompt_tokens"] == 10


async def test_several_prompts_can_be_streamed(engine: MAXEngine) -> None:
    body = msgspec.json.encode({"model": "a", "prompt": ["x", "y"], "stream": True, "max_tokens": 2})
    async with request(engine.app, "POST", COMPLETIONS, body=body) as answer:
        *events, done = payloads(await answer.read())
    assert done == b"[DONE]"
    assert {msgspec.json.decode(event)["choices"][0]["index"] for event in events} == {0, 1}


async def test_an_unknown_field_is_refused_by_name(engine: MAXEngine) -> None:
    status, answer = await ask(engine, top_kk=3)
    expected = {"message": "Unrecognized request argument supplied: top_kk", "type": "invalid_request_error"}
    assert (status, answer["error"]) == (400, {**expected, "param": "top_kk", "code": None})


async def test_fields_that_change_nothing_are_no_error(engine: MAXEngine) -> None:
    harmless = {"user": "u", "store": True, "metadata": {"a": "b"}, "best_of": 1, "echo": False, "logit_bias": {}}
    assert (await ask(engine, **harmless))[0] == 200
    assert "response_format" not in await seen(engine, response_format={"type": "text"})


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        (CHAT, {"logit_bias": {"5": 1}}, "logit_bias"),
        (CHAT, {"functions": [{"name": "f"}]}, "functions"),
        (CHAT, {"response_format": {"type": "json_object"}}, "response_format"),
        (CHAT, {"temperature": 9}, "temperature"),
        (CHAT, {"n": 0}, "n"),
        (CHAT, {"tools": TOOLS}, "tools"),
        (COMPLETIONS, {"echo": True}, "echo"),
        (COMPLETIONS, {"suffix": "x"}, "suffix"),
        (COMPLETIONS, {"best_of": 3, "n": 2}, "best_of"),
        (COMPLETIONS, {"prompt": []}, "prompt"),
        (COMPLETIONS, {"prompt": ""}, "prompt"),
        (COMPLETIONS, {"prompt": ["x", ""]}, "prompt"),
        (COMPLETIONS, {"prompt": [5]}, "prompt"),
        (CHAT, {"top_k": -5}, "top_k"),
        (CHAT, {"min_p": 2}, "min_p"),
        (CHAT, {"repetition_penalty": 0}, "repetition_penalty"),
        (CHAT, {"min_tokens": -1}, "min_tokens"),
        (CHAT, {"min_tokens": 6, "max_tokens": 5}, "min_tokens"),
        (CHAT, {"stop_token_ids": [-1]}, "stop_token_ids.0"),
    ],
)
async def test_what_max_would_ignore_or_fail_at_is_a_400(
    engine: MAXEngine, path: str, fields: dict[str, Any], param: str
) -> None:
    status, answer = await ask(engine, path, **fields)
    assert (status, answer["error"]["param"]) == (400, param), answer


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"seed": 0}, {"seed": 2**62}),
        ({"seed": 5}, {"seed": 5}),
        ({"top_k": 50}, {"top_k": 50}),
        ({"top_k": 10**9}, {"top_k": -1}),
        ({"logprobs": True}, {"logprobs": True, "top_logprobs": 1}),
        ({"logprobs": True, "top_logprobs": 0}, {"logprobs": True, "top_logprobs": 1}),
        ({"logprobs": True, "top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
    ],
)
async def test_zeros_that_max_takes_for_nothing_count(
    engine: MAXEngine, fields: dict[str, Any], sent: dict[str, Any]
) -> None:
    asked = await seen(engine, **fields)
    assert {name: asked.get(name) for name in sent} == sent


async def test_a_completion_ends_where_openai_s_does(engine: MAXEngine) -> None:
    assert (await seen(engine, COMPLETIONS))["max_tokens"] == 16
    assert (await seen(engine, COMPLETIONS, max_tokens=3))["max_tokens"] == 3


async def test_its_metrics_are_those_of_its_second_port(engine: MAXEngine) -> None:
    assert "maxserve_num_requests_running 0" in await engine.metrics()


async def test_leaving_a_stream_of_several_choices_ends_them(engine: MAXEngine) -> None:
    body = {"model": "b", "messages": [{"role": "user", "content": "x"}], "stream": True, "max_tokens": 5000, "n": 2}
    async with request(engine.app, "POST", CHAT, body=msgspec.json.encode(body)) as answer:
        await answer.__aiter__().__anext__()
        await until_running(engine, 2)
    await until_running(engine, 0)


async def until_running(engine: MAXEngine, number: int) -> None:
    for _ in range(2500):
        if f"maxserve_num_requests_running {number}\n" in await engine.metrics():
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"not {number} generations run: {await engine.metrics()}")
