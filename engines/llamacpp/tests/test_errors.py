"""What is said where something is wrong: requests that llama.cpp answers with its own words, and its ends."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from llamacpp_made import kill, make

from engineroom.asgi import request
from engineroom.testing import Target, running
from engineroom_llamacpp import LlamaCppEngine, errors

QUESTION = [{"role": "user", "content": "What is 2+2?"}]
GRAMMARLESS = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "alien"}}}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/chat/completions", {"messages": QUESTION, "top_k": "many"}, "top_k"),
        ("/v1/chat/completions", {"messages": QUESTION, "n": 100}, "n"),
        ("/v1/chat/completions", {"messages": QUESTION, "temperature": -3}, "temperature"),
        ("/v1/chat/completions", {"messages": []}, "messages"),
        ("/v1/chat/completions", {"messages": QUESTION, "functions": [{"name": "f"}]}, "functions"),
        ("/v1/chat/completions", {"messages": QUESTION, "response_format": GRAMMARLESS}, "response_format"),
        (
            "/v1/responses",
            {"input": "x", "text": {"format": {"type": "json_schema", "name": "a", "schema": {"type": "alien"}}}},
            "text.format",
        ),
        ("/v1/chat/completions", {"messages": QUESTION, "top_logprobs": 2}, "top_logprobs"),
        ("/v1/chat/completions", {"messages": QUESTION, "repetition_penalty": -1}, "repetition_penalty"),
        ("/v1/chat/completions", {"messages": [{"role": "assistant"}]}, "messages.0.content"),
        (
            "/v1/chat/completions",
            {
                "messages": [
                    *QUESTION,
                    {
                        "role": "assistant",
                        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{"}}],
                    },
                    {"role": "tool", "tool_call_id": "a", "content": "4"},
                ]
            },
            "messages.1.tool_calls.0.function.arguments",
        ),
        ("/v1/completions", {"prompt": "one", "echo": True}, "echo"),
        ("/v1/completions", {"prompt": "one", "best_of": 3}, "best_of"),
        ("/v1/completions", {"prompt": [99999999]}, "prompt"),
        ("/v1/responses", {}, "input"),
        ("/infill", {"input_prefix": "a", "input_suffix": "b"}, None),
    ],
)
async def test_a_clients_mistake_is_a_400(target: Target, path: str, body: dict[str, Any], param: str | None) -> None:
    status, answer = await target.post(path, body)
    assert status == 400, answer
    error = answer["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert "json.exception" not in error["message"]


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
async def test_anthropics_routes_have_anthropics_errors(target: Target, path: str) -> None:
    status, answer = await target.post(path, {})
    assert status == 400
    assert answer["type"] == "error"
    assert answer["error"]["type"] == "invalid_request_error"


async def test_what_max_model_len_says_is_what_one_request_gets() -> None:
    async with running(
        make(CTX_SIZE="", MAX_MODEL_LEN=256, PARALLEL=2, EMBEDDINGS=True, POOLING="mean", UBATCH_SIZE=128)
    ) as engine:
        for words, expected in ((180, 200), (300, 400)):
            status, answer = await _post(engine, "/v1/chat/completions", _long(words))
            assert status == expected, answer
        assert answer["error"]["code"] == "context_length_exceeded"
        status, answer = await _post(engine, "/v1/embeddings", {"input": "one " * 200})
        assert (status, answer["error"]["code"]) == (400, "context_length_exceeded")
        assert "UBATCH_SIZE" in answer["error"]["message"]


def _long(words: int) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "one " * words}], "max_tokens": 2}


async def _post(engine: LlamaCppEngine, path: str, body: dict[str, Any]) -> tuple[int, Any]:
    async with request(engine.app, "POST", path, body=msgspec.json.encode(body)) as answer:
        return answer.status, msgspec.json.decode(await answer.read())


async def test_who_is_killed_is_not_said_to_have_died_of_the_last_request_that_was_refused() -> None:
    async with running(make(CTX_SIZE=256, PARALLEL=1)) as engine:
        status, _ = await _post(engine, "/v1/chat/completions", _long(300))
        assert status == 400
        await kill(engine)
        reason = await asyncio.wait_for(engine.died(), 10)
    assert reason == "llamacpp was killed by signal 9: the machine may have run out of memory"


@pytest.mark.parametrize("code", [-4, -11])
def test_an_end_by_amx_names_the_setting_that_helps(code: int) -> None:
    log = ["0.00.120.000 I load_tensors:   AMX model buffer size =   120.00 MiB"]
    assert "REPACK=false" in (errors.explain_signal(code, log) or "")


def test_a_segmentation_fault_may_be_anything() -> None:
    log = ["0.00.100.000 I system_info: n_threads = 1 | CPU : AVX2 = 1 | AMX_INT8 = 1 |"]
    assert errors.explain_signal(-11, log) is None
