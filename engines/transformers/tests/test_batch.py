"""Many requests in one batch: they share the cache and nothing else, and what a client leaves is free again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engineroom.testing import Target
from engineroom_transformers import TransformersEngine
from engineroom_transformers.sampling import Sampling
from engineroom_transformers.settings import Params

from .conftest import target_of

pytestmark = [pytest.mark.real_transformers, pytest.mark.timeout(180)]

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
COUNT = {"prompt": "1 2 3 4 5 6 7", "max_tokens": 24}
CITY = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rome"]}},
    "required": ["city"],
    "additionalProperties": False,
}
HOT = {"temperature": 0.8, "top_p": 0.5, "seed": 11}


async def text(target: Target, **fields: Any) -> str:
    status, body = await target.post(COMPLETIONS, {**COUNT, **fields})
    assert status == 200, body
    return str(body["choices"][0]["text"])


async def chat(target: Target, **fields: Any) -> str:
    asked = {"messages": [{"role": "user", "content": "Numbers or cities, please."}], "max_tokens": 90}
    status, body = await target.post(CHAT, {**asked, **fields})
    assert status == 200, body
    return str(body["choices"][0]["message"]["content"])


def free_blocks(engine: TransformersEngine) -> int:
    assert engine._batch is not None
    return int(engine._batch._manager.batch_processor.cache.compute_free_capacity(relative=False))


async def until(condition: Callable[[], Any]) -> None:
    for _ in range(1200):
        if condition():
            return
        await asyncio.sleep(0.05)
    pytest.fail("it did not happen within a minute")


async def test_requests_do_not_influence_each_other(target: Target) -> None:
    """Thirty-two at once: greedy ones say what they say alone, whatever stands beside them."""
    alone = await text(target)
    assert "8 9 10 11" in alone
    kinds: list[dict[str, Any]] = [
        {},
        {"temperature": 2.0},
        {"logit_bias": {"100": 100}, "max_tokens": 5},
        {"repetition_penalty": 3.0},
        {"stop": ["9"]},
        {"logprobs": 3, "temperature": 0.7},
        {"temperature": 1.5, "top_k": 4, "min_p": 0.1, "top_p": 0.8, "ignore_eos": True},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "c", "schema": CITY}}},
    ]
    said = await asyncio.gather(*((chat if n % 8 == 7 else text)(target, **kinds[n % 8]) for n in range(32)))
    assert set(said[0::8]) == {alone}
    assert set(said[4::8]) == {alone[: alone.index("9")]}
    assert len(set(said[2::8])) == 1
    assert all(json.loads(answer)["city"] in ("Paris", "Rome") for answer in said[7::8])


async def test_what_a_client_leaves_is_free_again(target: Target, engine: TransformersEngine) -> None:
    await until(lambda: engine._batch and engine._batch.load == (0, 0))
    before = free_blocks(engine)
    body = msgspec.json.encode({"model": "smol", **COUNT, "max_tokens": 1500, "ignore_eos": True, "stream": True})
    for _ in range(3):
        async with target.call("POST", COMPLETIONS, body) as answer:
            await answer.__aiter__().__anext__()
            assert await target.running() == 1
            assert free_blocks(engine) < before
        await until(lambda: free_blocks(engine) == before)
    assert await target.running() == 0


async def test_a_request_that_is_left_while_it_waits_is_forgotten(target: Target, engine: TransformersEngine) -> None:
    assert engine._batch is not None
    before = free_blocks(engine)
    asking = [asyncio.ensure_future(text(target, max_tokens=60)) for _ in range(8)]
    await asyncio.sleep(0)
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    await until(lambda: engine._batch and engine._batch.load == (0, 0))
    await until(lambda: free_blocks(engine) == before)
    assert not engine._batch._manager.output_router.result_handlers


async def test_a_cancellation_that_comes_before_its_request_is_not_lost(engine: TransformersEngine) -> None:
    """The manager empties its two queues one after the other, so both may come between. Here it is as if they had."""
    assert engine._batch is not None
    manager = engine._batch._manager
    before = free_blocks(engine)
    left = {"eos_token_id": -1, "sampling": Sampling(Params(), 0.0, 1.0, 0, engine.tokenize("hello"), ())}
    manager.cancel_request("left")
    await asyncio.sleep(0.5)
    steps = engine._batch.steps
    manager.add_request(engine.tokenize("hello"), "left", 1500, streaming=True, **left)
    # On a GPU it is over before one could see that it runs.
    await until(lambda: engine._batch and engine._batch.steps > steps and engine._batch.load == (0, 0))
    assert engine._batch.steps < steps + 1500
    assert free_blocks(engine) == before


@pytest.fixture(scope="module")
async def small_cache(
    anyio_backend: str, configure: Callable[..., TransformersEngine], tiny: Path
) -> AsyncIterator[Target]:
    """A cache that holds less than what is asked for at a time, so that some has to wait, or to begin anew."""
    small = {"KV_CACHE_TOKENS": 160, "MAX_MODEL_LEN": "", "MAX_NUM_SEQS": 6, "MAX_NUM_BATCHED_TOKENS": 32}
    engine = configure(MODEL_NAME=str(tiny), **small)
    try:
        await engine.start()
        yield target_of(engine, max_model_len=160)
    finally:
        await engine.stop()


async def test_a_full_cache_makes_requests_wait_and_changes_none(small_cache: Target) -> None:
    """Each takes a third of the cache and six are in it, so some of them lose their place and are prefilled anew."""
    asked: list[dict[str, Any]] = [{}, HOT, {"logprobs": 2, **HOT}, {"repetition_penalty": 1.3, **HOT}]
    asked = [{"prompt": "One two three four", "max_tokens": 50, "ignore_eos": True, **more} for more in asked]
    alone = [await small_cache.post(COMPLETIONS, body) for body in asked]
    together = await asyncio.gather(*(small_cache.post(COMPLETIONS, body) for body in asked * 2))
    for number, (status, body) in enumerate(together):
        assert status == 200, body
        assert body["usage"]["completion_tokens"] == 50
        expected = alone[number % 4][1]["choices"][0]
        assert body["choices"][0]["text"] == expected["text"]
        if number % 4 == 2:
            assert len(body["choices"][0]["logprobs"]["tokens"]) == 50
            assert body["choices"][0]["logprobs"]["tokens"] == expected["logprobs"]["tokens"]


async def test_a_schema_survives_a_full_cache(small_cache: Target) -> None:
    number = {"type": "integer", "minimum": 10, "maximum": 99}
    schema = {"type": "array", "items": number, "minItems": 10, "maxItems": 10}
    wanted = {"response_format": {"type": "json_schema", "json_schema": {"name": "c", "schema": schema}}}
    for answer in await asyncio.gather(*(chat(small_cache, **HOT, **wanted) for _ in range(4))):
        assert len(json.loads(answer)) == 10


async def test_a_prompt_longer_than_a_step_is_read_in_several(small_cache: Target, tiny: Path) -> None:
    """Thirty-two tokens a step, and others beside it that get their tokens meanwhile."""
    prompt = [100 + number for number in range(80)]
    long = [small_cache.post(COMPLETIONS, {"prompt": prompt, "max_tokens": 6, "logprobs": 0}) for _ in range(2)]
    answers = await asyncio.gather(*long, *(small_cache.post(COMPLETIONS, COUNT) for _ in range(3)))
    assert [status for status, _ in answers] == [200] * 5
    assert answers[0][1]["choices"][0]["text"] == answers[1][1]["choices"][0]["text"] == by_generate(tiny, prompt, 6)


def by_generate(folder: Path, prompt: list[int], count: int) -> str:
    """What transformers' own `generate` says, greedy and alone."""
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    said = model.generate(torch.tensor([prompt]), max_new_tokens=count, do_sample=False)[0, len(prompt) :]
    return str(transformers.AutoTokenizer.from_pretrained(folder).decode(said, skip_special_tokens=True))


async def test_the_cache_bounds_a_request(small_cache: Target) -> None:
    status, body = await small_cache.post(COMPLETIONS, {"prompt": "one two " * 300, "max_tokens": 4})
    assert status == 400
    assert body["error"]["code"] == "context_length_exceeded"
    status, body = await small_cache.post(COMPLETIONS, {"prompt": "One", "max_tokens": 9999, "ignore_eos": True})
    assert status == 200
    assert body["usage"]["total_tokens"] == 160
    assert body["choices"][0]["finish_reason"] == "length"
