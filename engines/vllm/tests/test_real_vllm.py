"""What vLLM offers, asked of real vLLM on a CPU through our app: one start for all."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from real_engine import MODEL

from engineroom.jobs import GenerateRequest, generate
from engineroom.testing import Expectations, Target, engine_target
from engineroom.testing.suite import test_conformance
from engineroom_vllm.engine import VLLMEngine

from .conftest import PYTHON

__all__ = ["test_conformance"]

pytestmark = [pytest.mark.real_vllm, pytest.mark.timeout(600)]

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
GREEDY = {"messages": QUESTION, "temperature": 0, "max_tokens": 20}
ANSWER = "The capital of France is Paris."


@pytest.fixture
def target(vllm: VLLMEngine) -> Target:
    expectations = Expectations(
        max_model_len=2048,
        running_metric="vllm:num_requests_running",
        saying=lambda text: {"structured_outputs": {"choice": [text]}},
    )
    return engine_target(vllm, expectations)


async def test_text_is_the_model_s(target: Target) -> None:
    _, answer = await target.post("/v1/chat/completions", GREEDY)
    assert answer["choices"][0]["message"]["content"] == ANSWER


async def test_both_names_and_no_path_are_listed(target: Target) -> None:
    _, listed = await target.get("/v1/models")
    assert [model["id"] for model in listed["data"]] == ["smol", "alias"]
    assert str(MODEL.parent) not in msgspec.json.encode(listed).decode()
    status, _ = await target.post("/v1/chat/completions", {"model": "alias", "messages": QUESTION, "max_tokens": 1})
    assert status == 200


async def test_responses(target: Target) -> None:
    status, answer = await target.post("/v1/responses", {"input": "What is the capital of France?", "temperature": 0})
    assert status == 200, answer
    assert answer["output"][-1]["content"][0]["text"] == ANSWER


async def test_messages_and_count_tokens(target: Target) -> None:
    status, answer = await target.post("/v1/messages", GREEDY)
    assert status == 200, answer
    assert answer["content"][0]["text"] == ANSWER
    _, counted = await target.post("/v1/messages/count_tokens", {"messages": QUESTION})
    assert counted["input_tokens"] == answer["usage"]["input_tokens"]
    status, refused = await target.post("/v1/messages", {"max_tokens": 20})
    assert (status, refused["type"]) == (400, "error")
    assert "messages" in refused["error"]["message"]


async def test_tokenize_and_back(target: Target) -> None:
    _, answer = await target.post("/tokenize", {"prompt": "Grüß Gott"})
    _, back = await target.post("/detokenize", {"tokens": answer["tokens"]})
    assert back["prompt"] == "Grüß Gott"


async def test_a_generating_model_has_no_embeddings(target: Target) -> None:
    status, answer = await target.post("/v1/embeddings", {"input": "x"})
    assert status == 404
    assert answer["error"]["message"].startswith("Invalid URL (POST /v1/embeddings). This engine, or its model,")


async def test_routes_that_steer_the_engine_are_closed(target: Target) -> None:
    for path in ("/scale_elastic_ep", "/inference/v1/generate", "/invocations"):
        status, _ = await target.post(path, {})
        assert status == 404, path


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}], ids=str)
async def test_a_tool_is_called(target: Target, choice: Any) -> None:
    asked = {**GREEDY, "tools": TOOLS, "tool_choice": choice, "max_tokens": 60}
    status, answer = await target.post("/v1/chat/completions", asked)
    assert status == 200, answer
    call = answer["choices"][0]["message"]["tool_calls"][0]["function"]
    assert call["name"] == "get_weather"
    arguments = msgspec.json.decode(call["arguments"])
    assert isinstance(arguments, dict), call
    assert isinstance(arguments["city"], str)


async def test_the_parser_reads_a_tool_call_out_of_text(target: Target) -> None:
    """The model is made to write Hermes' form; the parser must make a tool call of it."""
    written = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
    asked = {
        **GREEDY,
        "tools": TOOLS,
        "tool_choice": "auto",
        "max_tokens": 60,
        "structured_outputs": {"choice": [written]},
    }
    _, answer = await target.post("/v1/chat/completions", asked)
    choice = answer["choices"][0]
    assert choice["finish_reason"] == "tool_calls", choice
    assert msgspec.json.decode(choice["message"]["tool_calls"][0]["function"]["arguments"]) == {"city": "Paris"}


@pytest.mark.parametrize("field", ["response_format", "guided_json", "structured_outputs"])
async def test_a_json_schema_is_kept(target: Target, field: str) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "enum": [4, 7]}}, "required": ["n"]}
    value: Any = {
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}},
        "guided_json": schema,
        "structured_outputs": {"json": schema},
    }[field]
    _, answer = await target.post("/v1/chat/completions", {**GREEDY, "max_tokens": 40, field: value})
    assert msgspec.json.decode(answer["choices"][0]["message"]["content"])["n"] in (4, 7)


async def test_a_lora_adapter_comes_and_goes(target: Target, tmp_path: Path) -> None:
    made = [str(PYTHON), str(Path(__file__).with_name("make_adapter.py")), str(MODEL), str(tmp_path / "odd")]
    await asyncio.to_thread(subprocess.run, made, check=True, timeout=120, capture_output=True)
    asked = {"model": "odd", **GREEDY}
    status, refused = await target.post("/v1/chat/completions", asked)
    assert (status, refused["error"]["code"]) == (404, "model_not_found")

    status, said = await target.post("/v1/load_lora_adapter", {"lora_name": "odd", "lora_path": str(tmp_path / "odd")})
    assert status == 200, said
    _, listed = await target.get("/v1/models")
    assert "odd" in [model["id"] for model in listed["data"]]
    status, answer = await target.post("/v1/chat/completions", asked)
    assert status == 200, answer
    assert answer["choices"][0]["message"]["content"] != ANSWER

    status, said = await target.post("/v1/unload_lora_adapter", {"lora_name": "odd"})
    assert status == 200, said
    status, _ = await target.post("/v1/chat/completions", asked)
    assert status == 404


async def test_sampling_parameters_reach_vllm(target: Target) -> None:
    asked = {"messages": QUESTION, "max_tokens": 5, "min_tokens": 5, "ignore_eos": True, "repetition_penalty": 1.5}
    _, answer = await target.post("/v1/chat/completions", {**asked, "prompt_logprobs": 1, "top_k": 1})
    assert answer["usage"]["completion_tokens"] == 5
    assert answer["prompt_logprobs"]
    status, refused = await target.post("/v1/chat/completions", {"messages": QUESTION, "top_k": -7})
    assert (status, refused["error"]["type"]) == (400, "invalid_request_error")


async def test_native_generation(vllm: VLLMEngine) -> None:
    asked = GenerateRequest(messages=QUESTION, sampling_params={"temperature": 0, "max_tokens": 20}, model="smol")
    deltas = [delta async for delta in generate(vllm, asked)]
    assert "".join(delta.text for delta in deltas) == ANSWER
    assert deltas[-1].usage is not None
    assert deltas[-1].usage.completion_tokens == 8


async def test_metrics_are_vllm_s(vllm: VLLMEngine) -> None:
    text = await vllm.metrics()
    assert "vllm:generation_tokens_total" in text


async def test_a_core_that_is_stopped_is_noticed_though_its_front_answers(vllm: VLLMEngine, target: Target) -> None:
    """vLLM's `/health` is answered by another process than the one that generates."""
    family = psutil.Process().children(recursive=True)
    core = next(process for process in family if "EngineCore" in " ".join(process.cmdline()))
    core.suspend()
    try:
        waiting = asyncio.ensure_future(target.post("/v1/chat/completions", GREEDY))
        await _becomes(vllm, ready=False)
        assert vllm.health().hung
        assert await vllm.upstream.answers("/health")
    finally:
        core.resume()
    status, answer = await waiting
    assert (status, answer["choices"][0]["message"]["content"]) == (200, ANSWER)
    await _becomes(vllm, ready=True)


async def test_a_core_that_works_for_long_is_not_taken_for_one_that_hangs(vllm: VLLMEngine, target: Target) -> None:
    """Prompts that fill the context, and a schema that takes long to compile, all at once."""
    hangs = vllm.hangs
    prompts = [f"{number} " + "word " * 1_990 for number in range(6)]
    asked: list[dict[str, Any]] = [{"prompt": prompt, "max_tokens": 1} for prompt in prompts]
    values = [f"every value begins with the same words and goes on {number}" for number in range(900)]
    asked.append({"prompt": "One:", "max_tokens": 20, "structured_outputs": {"json": {"enum": values}}})
    answers = await asyncio.gather(*(target.post("/v1/completions", each) for each in asked))
    assert [status for status, _ in answers] == [200] * len(asked), answers
    assert vllm.hangs == hangs
    assert vllm.health().ready


async def _becomes(vllm: VLLMEngine, *, ready: bool) -> None:
    for _ in range(600):
        if vllm.health().ready == ready:
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"not within a minute: {vllm.health()}")
