"""Each parameter of a request, by what it does to real answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engineroom.testing import Target
from engineroom_openvino import OpenVINOEngine

from .conftest import chat

pytestmark = [pytest.mark.real_openvino, pytest.mark.timeout(180)]

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
SUM = [{"role": "user", "content": "What is 2+2?"}]
COUNT = "1 2 3 4 5 6 7"
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]


async def said(target: Target, **fields: Any) -> str:
    return str((await chat(target, **fields))["message"]["content"])


async def completed(target: Target, prompt: Any = COUNT, **fields: Any) -> Any:
    status, body = await target.post(COMPLETIONS, {"prompt": prompt, "max_tokens": 8, **fields})
    assert status == 200, body
    return body["choices"][0]


async def test_seeds_repeat_a_text_and_give_each_choice_its_own(target: Target) -> None:
    """A prompt that is in the cache already changes the last digits of the scores, so it is put there first."""
    hot = {"temperature": 1.5, "max_tokens": 6}
    await said(target, **hot)
    assert await said(target, seed=1, **hot) == await said(target, seed=1, **hot)
    asked: list[dict[str, Any]] = [{"seed": 1}, {"seed": 2}, {"seed": -1}, {"seed": 2**63 - 1}, {}, {}]
    assert len(set(await asyncio.gather(*(said(target, **one, **hot) for one in asked)))) == 6
    status, body = await target.post(CHAT, {"messages": SUM, "n": 3, "seed": 5, **hot})
    assert status == 200
    assert len({choice["message"]["content"] for choice in body["choices"]}) == 3


@pytest.mark.parametrize(
    "one", [{"top_k": 1}, {"top_p": 1e-6}, {"top_p": 0}, {"min_p": 1.0}, {"temperature": 1e-9}], ids=str
)
async def test_what_leaves_only_the_likeliest_token_is_greedy(target: Target, one: dict[str, Any]) -> None:
    assert (await completed(target, **{"temperature": 2.0, **one}))["text"].startswith(" 8 9")


@pytest.mark.parametrize("number", [-1, 0, 2**31, 2**64, 10**30], ids=str)
async def test_a_top_k_beyond_all_measure_limits_nothing(target: Target, number: int) -> None:
    hot = {"temperature": 1.5, "seed": 3}
    assert await completed(target, top_k=number, **hot) == await completed(target, **hot)


@pytest.mark.parametrize("penalty", [{"repetition_penalty": 5.0}, {"frequency_penalty": 2.0}], ids=str)
async def test_penalties_keep_from_repeating(target: Target, penalty: dict[str, Any]) -> None:
    prompt = "1 1 1 1 1 1 1 1 1 1"
    assert (await completed(target, prompt, max_tokens=16))["text"].split() == ["1"] * 8
    assert (await completed(target, prompt, max_tokens=16, **penalty))["text"].split() != ["1"] * 8


async def test_a_presence_penalty_moves_away_from_what_was_said(target: Target) -> None:
    """It takes as much from a token said once as from one said often, which few near-ties show."""
    asked = {"prompt": "red blue red blue red", "max_tokens": 24}
    texts = [(await completed(target, **asked, presence_penalty=value))["text"] for value in (-2, 0, 2)]
    assert len(set(texts)) > 1, texts


async def test_an_answer_is_as_long_as_it_is_asked_to_be(target: Target) -> None:
    asked = {"messages": SUM, "max_tokens": 40}
    short = (await target.post(CHAT, asked))[1]
    assert short["choices"][0]["finish_reason"] == "stop"
    assert short["usage"]["completion_tokens"] < 30
    for longer in ({"min_tokens": 30}, {"min_tokens": 99}, {"ignore_eos": True}):
        assert (await target.post(CHAT, {**asked, **longer}))[1]["usage"]["completion_tokens"] >= 30


async def test_token_ids_and_strings_stop_it(target: Target, engine: OpenVINOEngine) -> None:
    plain = (await completed(target, max_tokens=12))["text"]
    for more in ({}, {"ignore_eos": True}):
        by_id = await completed(target, max_tokens=12, stop_token_ids=engine.tokenize("9"), **more)
        assert (by_id["text"], by_id["finish_reason"]) == (plain[: plain.index("9")], "stop")
    by_text = await completed(target, max_tokens=12, stop=["9 1", "no such thing"])
    assert (by_text["text"], by_text["finish_reason"]) == (plain[: plain.index("9 1")], "stop")


async def test_requests_of_one_batch_do_not_influence_each_other(target: Target) -> None:
    kinds: list[dict[str, Any]] = [{}, {"temperature": 2.0}, {"repetition_penalty": 3.0}, {"stop": ["9"]}]
    texts = [choice["text"] for choice in await asyncio.gather(*(completed(target, **kinds[n % 4]) for n in range(24)))]
    assert set(texts[0::4]) == {texts[0]}
    assert texts[0].startswith(" 8 9")
    assert set(texts[3::4]) == {" 8 "}


async def test_the_template_is_given_what_it_is_asked_to(target: Target) -> None:
    opened = [{"role": "user", "content": "Count"}, {"role": "assistant", "content": "1, 2, 3,"}]
    on = {"add_generation_prompt": False, "continue_final_message": True}
    assert (await said(target, messages=opened, **on)).lstrip().startswith("4")
    bodies = [await target.post(CHAT, {"messages": SUM, "max_tokens": 1, **more}) for more in ({}, {"tools": TOOLS})]
    assert bodies[1][1]["usage"]["prompt_tokens"] > bodies[0][1]["usage"]["prompt_tokens"] + 20


async def test_token_ids_are_a_prompt(target: Target, engine: OpenVINOEngine) -> None:
    assert await completed(target, engine.tokenize(COUNT)) == await completed(target)
    for wrong in ([0, 49152], [-1], "", []):
        status, body = await target.post(COMPLETIONS, {"prompt": wrong, "max_tokens": 2})
        assert status == 400, body


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"mirostat": 2}, "mirostat"),
        ({"logit_bias": {"1": 1}}, "logit_bias"),
        ({"logprobs": True}, "logprobs"),
        ({"top_k": "many"}, "top_k"),
        ({"min_p": 1.5}, "min_p"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"no_repeat_ngram_size": 2}, "no_repeat_ngram_size"),
        ({"stop_token_ids": [49152]}, "token ids go from 0 to 49151"),
        ({"chat_template_kwargs": {"chat_template": "{{ 1 }}"}}, "chat_template"),
        ({"messages": [{"role": "user", "content": "one " * 3000}]}, "maximum context length is 2048"),
    ],
    ids=str,
)
async def test_what_cannot_be_is_refused_and_named(target: Target, fields: dict[str, Any], named: str) -> None:
    for stream in (False, True):
        status, body = await target.post(CHAT, {"messages": SUM, "max_tokens": 4, **fields, "stream": stream})
        assert status == 400, body
        assert named in body["error"]["message"]


async def test_what_a_client_leaves_is_free_again(target: Target) -> None:
    async def running(number: int) -> None:
        for _ in range(1200):
            if await target.running() == number:
                return
            await asyncio.sleep(0.05)
        pytest.fail(f"within a minute there are not {number} requests")

    long = {"prompt": COUNT, "max_tokens": 1500, "ignore_eos": True}
    leaving = [asyncio.ensure_future(completed(target, **long)) for _ in range(4)]
    await running(4)
    for task in leaving:
        task.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)
    await running(0)
