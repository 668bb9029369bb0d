"""The fields that are passed to llama.cpp are those that it reads: it refuses a value of a wrong type in them.

A field that it does not know may hold anything, so that a refusal shows that it looked.
"""

from __future__ import annotations

from typing import Any

import pytest

from engineroom.openai.routes import CHAT_COMPLETIONS, COMPLETIONS
from engineroom_llamacpp import LlamaCppEngine
from engineroom_llamacpp.requests import HONOURED

WRONG: list[Any] = [{"x": []}, "x", ["x", {}], 5]
BODIES: dict[str, dict[str, Any]] = {
    CHAT_COMPLETIONS: {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1},
    COMPLETIONS: {"prompt": "hi", "max_tokens": 1},
}
LENIENT = {
    "add_generation_prompt": "logs that the type is wrong",
    "best_of": "the adapter's own",
    "chat_template_kwargs": "whatever is in it goes to the template",
    "id_slot": "logs that the type is wrong",
    "json_schema": "an impossible schema is only logged",
    "logit_bias": "entries of a wrong kind are left out",
    "model": "there is one",
    "parallel_tool_calls": "logs that the type is wrong",
    "reasoning_effort": "logs that the type is wrong",
    "response_fields": "logs that the type is wrong",
    "response_format": "an unknown kind without a type is none",
    "stop": "anything but texts is left out",
    "stream_options": "what is in it is read one by one",
    "thinking_budget_tokens": "logs that the type is wrong",
}
"""Fields that it reads, and takes with any value."""


@pytest.mark.parametrize("path", BODIES)
async def test_it_reads_the_fields_that_it_is_sent(engine: LlamaCppEngine, path: str) -> None:
    unread = set()
    for name in sorted(HONOURED[path] - LENIENT.keys()):
        statuses = set()
        for value in WRONG:
            body = {**BODIES[path], name: value}
            statuses.add((await engine.upstream.post(path, body))[0])
            if statuses != {200}:
                break
        if statuses == {200}:
            unread.add(name)
    assert not unread


async def test_it_does_not_look_at_what_it_does_not_know(engine: LlamaCppEngine) -> None:
    """Why these are refused before: it would answer as if they were not there."""
    for name in ("echo_", "functions", "temprature", "verbosity"):
        body = {**BODIES[CHAT_COMPLETIONS], name: {"x": []}}
        assert (await engine.upstream.post(CHAT_COMPLETIONS, body))[0] == 200
