"""What MAX offers, asked of real MAX on a CPU through our app: one start for all."""

from __future__ import annotations

from typing import Any

import pytest

from engineroom.engine import MODELS, Route
from engineroom.jobs import GenerateRequest, generate
from engineroom.testing import Expectations, Target, engine_target
from engineroom.testing.suite import test_conformance
from engineroom_max.engine import MAXEngine

__all__ = ["test_conformance"]

pytestmark = [pytest.mark.real_max, pytest.mark.timeout(1200)]

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
QUESTION = [{"role": "user", "content": "What is 2+2?"}]
GREEDY: dict[str, Any] = {"messages": QUESTION, "temperature": 0, "max_tokens": 20}
ANSWER = "The answer to this classic math problem is 4."


@pytest.fixture
def target(real_max: MAXEngine) -> Target:
    running = "maxserve_num_requests_running"
    return engine_target(real_max, Expectations(max_model_len=2048, running_metric=running, fields={"top_k": 1}))


async def test_text_is_the_model_s(target: Target) -> None:
    _, answer = await target.post(CHAT, GREEDY)
    assert answer["choices"][0]["message"]["content"] == ANSWER


async def test_it_has_the_routes_of_a_model_that_generates(real_max: MAXEngine, target: Target) -> None:
    assert real_max.routes == MODELS | {Route("POST", CHAT), Route("POST", COMPLETIONS)}
    for path in ("/v1/embeddings", "/reset_prefix_cache", "/invocations"):
        status, _ = await target.post(path, {"input": "x"})
        assert status == 404, path


async def test_the_alias_is_served_too(target: Target) -> None:
    status, answer = await target.post(CHAT, {**GREEDY, "model": "alias"})
    assert status == 200
    assert answer["choices"][0]["message"]["content"] == ANSWER


async def test_several_choices_differ_and_are_counted(target: Target) -> None:
    asked = {"messages": QUESTION, "max_tokens": 12, "n": 3, "temperature": 1, "seed": 7, "top_k": 50}
    _, answer = await target.post(CHAT, asked)
    texts = [choice["message"]["content"] for choice in answer["choices"]]
    assert len(set(texts)) > 1, "a seed counts on from choice to choice"
    assert answer["usage"]["completion_tokens"] <= 36
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]
    _, again = await target.post(CHAT, asked)
    assert [choice["message"]["content"] for choice in again["choices"]] == texts, "and gives the same again"


async def test_several_prompts_whole_and_streamed(target: Target) -> None:
    asked = {"prompt": ["1 2 3 4 5 6 7", "a b c d e f g"], "max_tokens": 2, "n": 2, "temperature": 0}
    _, answer = await target.post(COMPLETIONS, asked)
    texts = [choice["text"] for choice in answer["choices"]]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]
    events = await target.stream(COMPLETIONS, asked)
    streamed = ["", "", "", ""]
    for choice in (choice for event in events for choice in event["choices"]):
        streamed[choice["index"]] += choice["text"]
    assert streamed == texts


async def test_penalties_and_min_tokens_are_honoured(target: Target) -> None:
    asked = {"prompt": "one one one one one one", "temperature": 0, "max_tokens": 24}
    _, plain = await target.post(COMPLETIONS, asked)
    _, penalised = await target.post(COMPLETIONS, {**asked, "frequency_penalty": 2, "presence_penalty": 2})
    assert plain["choices"][0]["text"] != penalised["choices"][0]["text"]
    _, longer = await target.post(CHAT, {**GREEDY, "min_tokens": 20})
    assert longer["usage"]["completion_tokens"] == 20


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"unheard_of": 1}, "unheard_of", "Unrecognized request argument supplied: unheard_of"),
        ({"top_k": "many"}, "top_k", "expected an integer"),
        ({"top_k": -5}, "top_k", "Expected a value >= -1"),
        ({"logprobs": True, "top_logprobs": 20}, "top_logprobs", "[0, 7]"),
        ({"logit_bias": {"5": 1}}, "logit_bias", "MAX does not support 'logit_bias'"),
        ({"response_format": {"type": "json_object"}}, "response_format", "ENABLE_STRUCTURED_OUTPUT"),
        ({"temperature": 5}, "temperature", "above maximum"),
        ({"messages": []}, "messages", "too short"),
    ],
)
async def test_what_is_refused_says_which_field(target: Target, fields: Any, param: str, says: str) -> None:
    for stream in (False, True):
        status, answer = await target.post(CHAT, {**GREEDY, **fields, "stream": stream})
        error = answer["error"]
        assert (status, error["type"], error["param"]) == (400, "invalid_request_error", param), answer
        assert says in error["message"]


async def test_numbers_beyond_the_model_s_tokens_do_not_end_max(target: Target) -> None:
    for prompt in ([10**9], [-1], [[5], [10**9]]):
        status, answer = await target.post(COMPLETIONS, {"prompt": prompt, "max_tokens": 2})
        assert (status, answer["error"]["param"]) == (400, "prompt")
    status, answer = await target.post(CHAT, {"messages": QUESTION, "max_tokens": 2, "top_k": 2**31})
    assert status == 200, answer
    status, answer = await target.post(COMPLETIONS, {"prompt": [504, 253], "max_tokens": 2})
    assert status == 200, answer


async def test_zeros_are_numbers_like_any_other(target: Target) -> None:
    asked = {"messages": QUESTION, "max_tokens": 12, "temperature": 1, "seed": 0, "top_k": 50}
    answers = [await target.ask(CHAT, asked) for _ in range(2)]
    assert answers[0]["choices"][0]["message"]["content"] == answers[1]["choices"][0]["message"]["content"]
    answer = await target.ask(CHAT, {**GREEDY, "max_tokens": 1, "logprobs": True, "top_logprobs": 0})
    assert len(answer["choices"][0]["logprobs"]["content"]) == 1


async def test_a_whole_completion_ends_before_its_stop_string(target: Target) -> None:
    asked = {"prompt": "One, two, three, four,", "max_tokens": 12, "temperature": 0}
    text = (await target.ask(COMPLETIONS, asked))["choices"][0]["text"]
    cut = (await target.ask(COMPLETIONS, {**asked, "stop": [text[3:6]]}))["choices"][0]
    assert (cut["text"], cut["finish_reason"]) == (text[:3], "stop")


async def test_openai_s_harmless_fields_pass(target: Target) -> None:
    harmless = {"user": "u", "store": False, "metadata": {"a": "b"}, "parallel_tool_calls": True, "best_of": None}
    status, answer = await target.post(CHAT, {**GREEDY, **harmless, "service_tier": "auto"})
    assert status == 200, answer


async def test_native_generation(real_max: MAXEngine) -> None:
    asked = GenerateRequest(messages=QUESTION, sampling_params={"temperature": 0, "max_tokens": 20}, model="smol")
    deltas = [delta async for delta in generate(real_max, asked)]
    assert "".join(delta.text for delta in deltas) == ANSWER
    assert deltas[-1].usage is not None


async def test_metrics_are_max_s(real_max: MAXEngine) -> None:
    assert "maxserve_num_output_tokens_total" in await real_max.metrics()
