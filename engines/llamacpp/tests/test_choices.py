"""Several choices, their usage and logprobs, whole and streamed: where llama.cpp's own answers deviate most."""

from __future__ import annotations

from typing import Any

import pytest

from engineroom.testing import Target

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
QUESTION = [{"role": "user", "content": "What is 2+2?"}]
USAGE = {"stream_options": {"include_usage": True}}


@pytest.mark.parametrize(
    ("path", "asked", "choices"),
    [
        (CHAT, {"messages": QUESTION, "n": 3}, 3),
        (COMPLETIONS, {"prompt": "One, two,", "n": 2}, 2),
        (COMPLETIONS, {"prompt": ["One, two,", "Monday, Tuesday, Wednesday,"], "n": 2}, 4),
    ],
)
async def test_usage_is_of_all_choices(target: Target, path: str, asked: dict[str, Any], choices: int) -> None:
    asked = {**asked, "max_tokens": 3, "ignore_eos": True}
    status, whole = await target.post(path, asked)
    assert status == 200, whole
    assert [choice["index"] for choice in whole["choices"]] == list(range(choices))
    assert whole["usage"]["completion_tokens"] == 3 * choices
    events = await target.stream(path, {**asked, **USAGE})
    assert events[-1]["choices"] == []
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert events[-1]["usage"][name] == whole["usage"][name]
    assert not any(event.get("usage") for event in events[:-1])
    assert not any(event.get("usage") for event in await target.stream(path, asked))


async def test_two_prompts_are_counted_each_once(target: Target) -> None:
    prompts = ["One, two,", "Monday, Tuesday, Wednesday,"]
    alone = [(await target.post(COMPLETIONS, {"prompt": p, "max_tokens": 1}))[1]["usage"] for p in prompts]
    _, both = await target.post(COMPLETIONS, {"prompt": prompts, "max_tokens": 1, "n": 3})
    assert both["usage"]["prompt_tokens"] == sum(usage["prompt_tokens"] for usage in alone)


@pytest.mark.parametrize("top", [None, 0, 2])
async def test_logprobs_of_a_chat(target: Target, top: int | None) -> None:
    asked = {"messages": QUESTION, "max_tokens": 3, "logprobs": True} | ({} if top is None else {"top_logprobs": top})
    _, whole = await target.post(CHAT, asked)
    events = await target.stream(CHAT, asked)
    streamed = [e for event in events for c in event["choices"] for e in (c.get("logprobs") or {}).get("content") or ()]
    for content in (whole["choices"][0]["logprobs"]["content"], streamed):
        assert [len(entry["top_logprobs"]) for entry in content] == [top or 0] * 3
        assert all(bytes(entry["bytes"]).decode() == entry["token"] for entry in content)


async def test_logprobs_of_a_completion(target: Target) -> None:
    asked = {"prompt": "One, two, three,", "max_tokens": 4, "logprobs": 2}
    _, whole = await target.post(COMPLETIONS, asked)
    logprobs = whole["choices"][0]["logprobs"]
    text = whole["choices"][0]["text"]
    assert "".join(logprobs["tokens"]) == text
    assert all(
        text[at:].startswith(token) for at, token in zip(logprobs["text_offset"], logprobs["tokens"], strict=True)
    )
    assert all(token in top for token, top in zip(logprobs["tokens"], logprobs["top_logprobs"], strict=True))
    streamed = [c["logprobs"] for event in await target.stream(COMPLETIONS, asked) for c in event["choices"]]
    for name in ("tokens", "text_offset"):
        assert [entry for part in streamed if part for entry in part[name]] == logprobs[name]


async def test_characters_that_are_split_over_tokens_arrive_whole_in_a_completion(target: Target) -> None:
    text = "🫠 नमस्ते 👩‍👩‍👧"
    asked = {"prompt": "Say it:", "max_tokens": 80, "grammar": f'root ::= "{text}"'}
    _, whole = await target.post(COMPLETIONS, asked)
    assert whole["choices"][0]["text"] == text
    events = await target.stream(COMPLETIONS, asked)
    assert "".join(choice["text"] for event in events for choice in event["choices"]) == text
    assert len(events) < whole["usage"]["completion_tokens"], "no character was split, so nothing was tried"
