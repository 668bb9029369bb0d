"""What of a request reaches SGLang, and what becomes of its answers, over the stand-in."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.json import encode

from engineroom.asgi import request
from engineroom.jobs import GenerateRequest, JobInput, generate
from engineroom.testing import running
from engineroom_sglang import SGLangEngine

from .conftest import Configure, ask, configured, sent


@pytest.fixture(scope="module")
async def engine(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SGLangEngine]:
    """One that all tests ask, and none ends."""
    with configured(tmp_path_factory.mktemp("engine")) as configure:
        async with running(configure(OPENAI_SERVED_MODEL_NAME_OVERRIDE="a,b")) as engine:
            yield engine


async def test_fields_of_sglang_reach_it_and_it_knows_one_model_name(engine: SGLangEngine) -> None:
    fields: dict[str, Any] = {"top_k": 5, "regex": "x+", "chat_template_kwargs": {"enable_thinking": False}}
    asked = await sent(engine, model="b", **fields, stop=["", "end"])
    assert {name: asked[name] for name in fields} == fields
    assert (asked["model"], asked["stop"]) == ("a", ["end"])


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"lora_path": "x"}, "lora_path"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"top_kk": 1}, "top_kk"),
        ({"seed": 7}, "seed"),
        ({"n": -1}, "n"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"priority": 7}, "priority"),
        ({"routed_dp_rank": 1}, "routed_dp_rank"),
        ({"messages": [{"role": "user", "content": "x", "name": "Ada"}]}, "messages.0.name"),
    ],
)
async def test_what_sglang_would_pass_over_is_refused(engine: SGLangEngine, fields: Any, param: str) -> None:
    status, answer = await ask(engine, **fields)
    assert (status, answer["error"]["param"]) == (400, param)


@pytest.mark.parametrize("field", ["best_of", "suffix"])
async def test_what_it_declares_and_passes_over_is_refused_too(engine: SGLangEngine, field: str) -> None:
    status, answer = await ask(engine, "/v1/completions", prompt="x", **{field: 3 if field == "best_of" else "y"})
    assert (status, answer["error"]["param"]) == (400, field)


async def test_logprobs_of_an_echo_are_refused(engine: SGLangEngine) -> None:
    status, answer = await ask(engine, "/v1/completions", prompt="x", echo=True, logprobs=1)
    assert (status, answer["error"]["param"]) == (400, "logprobs")


async def test_a_seed_passes_where_sglang_looks_at_it(configure: Configure) -> None:
    async with running(configure(ENABLE_DETERMINISTIC_INFERENCE="true")) as engine:
        assert (await sent(engine, seed=7))["seed"] == 7


async def test_why_an_adapter_is_not_loaded_is_told(configure: Configure, tmp_path: Path) -> None:
    folder = tmp_path / "adapters" / "broken"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"r": 8, "base_model_name_or_path": "org/model"}))
    (folder / "adapter_model.safetensors").write_bytes(b"x")
    async with running(configure(LORA_DIR=str(folder.parent))) as engine:
        status, answer = await ask(engine, model="broken")
    assert status == 400
    assert "rank is too large" in answer["error"]["message"]


async def test_tools_need_a_parser(configure: Configure) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    async with running(configure(TOOL_CALL_PARSER="")) as engine:
        status, answer = await ask(engine, tools=[tool])
    assert status == 400
    assert "TOOL_CALL_PARSER" in answer["error"]["message"]


async def test_a_format_needs_a_grammar(configure: Configure) -> None:
    async with running(configure(GRAMMAR_BACKEND="none")) as engine:
        status, answer = await ask(engine, response_format={"type": "json_object"})
    assert status == 400
    assert "GRAMMAR_BACKEND" in answer["error"]["message"]


async def test_its_native_route_is_reachable(engine: SGLangEngine) -> None:
    body = {"text": "The capital of France is", "sampling_params": {"max_new_tokens": 8, "temperature": 0}}
    status, answer = await ask(engine, "/generate", **body)
    assert (status, answer["text"]) == (200, body["text"])
    assert {name: value for name, value in (await sent(engine, "/generate", **body)).items() if name != "path"} == body


async def test_rerankers_answer_as_others_do(configure: Configure) -> None:
    async with running(configure(IS_EMBEDDING="true")) as engine:
        status, answer = await ask(engine, "/v1/rerank", query="x", documents=["p", "q"])
    assert status == 200
    assert answer["results"][1] == {"index": 1, "relevance_score": 0.9, "document": {"text": "q"}}


async def test_adapters_are_loaded_by_name(configure: Configure, tmp_path: Path) -> None:
    folder = tmp_path / "adapters"
    for name in ("one", "two"):
        (folder / name).mkdir(parents=True)
        (folder / name / "adapter_config.json").write_text(json.dumps({"r": 8, "base_model_name_or_path": "org/model"}))
        (folder / name / "adapter_model.safetensors").write_bytes(b"x")
    async with running(configure(LORA_DIR=str(folder), MAX_LOADED_LORAS="1")) as engine:
        asked = await sent(engine, model="one")
        assert (asked["model"], asked["lora_path"]) == ("org/model", "one")
        assert (await sent(engine, model="two"))["lora_path"] == "two"
        assert "lora_path" not in await sent(engine, model="org/model")
        assert (await ask(engine, model="three"))[0] == 404


WORKER_SGLANG = {
    "test_input.json": {
        "openai_route": "/v1/chat/completions",
        "openai_input": {"model": "a", "messages": [{"role": "user", "content": "What is the capital of France?"}]},
    },
    ".runpod/tests.json": {"model": "a", "messages": [{"role": "user", "content": "What is the capital of France?"}]},
    "README, chat": {
        "messages": [{"role": "system", "content": "Be helpful."}, {"role": "user", "content": "Capital of France?"}],
        "max_tokens": 100,
        "temperature": 0.7,
    },
    "README, streamed": {"messages": [{"role": "user", "content": "A story."}], "max_tokens": 500, "stream": True},
    "README, native": {
        "text": "The capital of France is",
        "sampling_params": {"max_new_tokens": 64, "temperature": 0.0},
    },
    "README, models": {"openai_route": "/v1/models"},
}
"""What worker-sglang's own repository sends its worker."""


@pytest.mark.parametrize("source", WORKER_SGLANG)
async def test_what_worker_sglang_is_tried_with_is_answered(engine: SGLangEngine, source: str) -> None:
    job = JobInput.parse(WORKER_SGLANG[source], engine)
    if isinstance(job.request, GenerateRequest):
        deltas = [delta async for delta in generate(engine, job.request)]
        assert "".join(delta.text for delta in deltas)
        return
    async with request(engine.app, job.request.method, job.request.path, body=encode(job.request.json)) as answer:
        assert answer.status == 200
        assert await answer.read()
