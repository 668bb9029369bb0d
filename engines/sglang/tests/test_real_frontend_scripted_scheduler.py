"""SGLang's real HTTP front end over a scripted scheduler: `make test-sglang-frontend PYTHON_WITH_SGLANG=…`.

Routes, request models, errors, streams, tokeniser and detokeniser are SGLang's own; what computes is a script.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from real_engine import MODEL, opened, script

from engineroom.settings import Environment
from engineroom.testing import running
from engineroom_sglang import SGLangEngine

from .conftest import ask

LAUNCH = Path(__file__).parent / "scripted_scheduler" / "launch.py"
PYTHON = os.environ.get("PYTHON_WITH_SGLANG", "")

pytestmark = [
    pytest.mark.real_frontend,
    pytest.mark.skipif(not PYTHON, reason="no Python with SGLang's front end: make test-sglang-frontend says which"),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SGLangEngine]:
    folder = tmp_path_factory.mktemp("frontend")
    text = f'if [ "$1" = -c ]; then exec {PYTHON} "$@"; fi; shift 2; exec {PYTHON} {LAUNCH} "$@"'
    own = {"ENGINE": "sglang", "MODEL_NAME": str(MODEL), "SGLANG_PYTHON": script(folder / "python", text)}
    more = {"OPENAI_SERVED_MODEL_NAME_OVERRIDE": "smol", "ENABLE_METRICS": "false", "START_TIMEOUT": "300"}
    env = Environment.of({**own, **more, "TOOL_CALL_PARSER": "qwen", "BASE_PATH": str(folder / "no-volume")})
    async with running(opened(SGLangEngine, env)) as engine:
        yield engine


async def test_a_chat_a_stream_and_a_stop_string(engine: SGLangEngine) -> None:
    status, answer = await ask(engine, model="smol", max_tokens=5, n=2)
    assert (status, len(answer["choices"]), answer["usage"]["completion_tokens"]) == (200, 2, 10)
    status, text = await ask(engine, model="smol", max_tokens=5, stream=True)
    assert status == 200
    assert text.rstrip().endswith("data: [DONE]")
    status, answer = await ask(engine, "/v1/completions", model="smol", prompt="one two three four", stop=["three"])
    assert (answer["choices"][0]["text"], answer["choices"][0]["finish_reason"]) == ("one two ", "stop")


async def test_a_message_says_which_stop_sequence_ended_it(engine: SGLangEngine) -> None:
    asked = {"model": "smol", "max_tokens": 60, "stop_sequences": ["helpful"]}
    status, answer = await ask(engine, "/v1/messages", messages=[{"role": "user", "content": "x"}], **asked)
    assert (status, answer["stop_reason"], answer["stop_sequence"]) == (200, "stop_sequence", "helpful")


async def test_errors_name_no_path_of_this_machine(engine: SGLangEngine) -> None:
    status, answer = await ask(engine, model="smol", max_tokens=99999)
    assert (status, answer["error"]["code"]) == (400, "context_length_exceeded")
    status, answer = await ask(engine, "/v1/tokenize", model="smol", prompt={"x": 1})
    assert status == 400
    assert "File" not in answer["error"]["message"]
    assert "/" not in answer["error"]["message"].replace("/v1/tokenize", "")


async def test_what_sglang_itself_would_take(engine: SGLangEngine) -> None:
    for fields in ({"n": -1}, {"logprobs": True, "top_logprobs": 21}, {"seed": 7}, {"best_of": 2}):
        assert (await ask(engine, model="smol", **fields))[0] == 400


async def test_its_native_route(engine: SGLangEngine) -> None:
    status, answer = await ask(
        engine, "/generate", text="The capital of France is", sampling_params={"max_new_tokens": 3}
    )
    assert (status, answer["text"]) == (200, "The capital of")
    status, answer = await ask(engine, "/generate", sampling_params={})
    assert status == 400
    assert "text" in answer["error"]["message"]


async def test_worker_sglangs_own_test_inputs(engine: SGLangEngine) -> None:
    question = [{"role": "user", "content": "What is the capital of France?"}]
    status, answer = await ask(engine, model="smol", messages=question, max_tokens=40)
    assert status == 200
    assert answer["choices"][0]["message"]["content"]
