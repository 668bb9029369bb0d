"""Completions, embeddings and models through a real server, against OpenAI's own types."""

from __future__ import annotations

import base64
import json
from array import array
from typing import Any

import httpx
import openai
import pytest
from openai.types import Completion, CreateEmbeddingResponse, Model

from engineroom.openai.aggregate import CompletionAggregator
from engineroom.openai.sse import payloads

from ..strict_types import strictly


def whole(http: httpx.Client, **fields: Any) -> Completion:
    answer = http.post("/v1/completions", json={"model": "echo", **fields})
    assert answer.status_code == 200, answer.text
    return strictly(Completion, answer.content)


def aggregated(http: httpx.Client, **fields: Any) -> dict[str, Any]:
    body = {"model": "echo", "stream": True, "stream_options": {"include_usage": True}, **fields}
    *events, done = payloads(http.post("/v1/completions", json=body).content)
    assert done == b"[DONE]"
    aggregator = CompletionAggregator()
    for event in events:
        aggregator.add(json.loads(event))
    return aggregator.response()


def test_a_completion(http: httpx.Client) -> None:
    answer = whole(http, prompt="日本 😀")
    assert answer.id.startswith("cmpl-")
    assert answer.object == "text_completion"
    assert [(c.index, c.text, c.finish_reason, c.logprobs) for c in answer.choices] == [(0, "日本 😀", "stop", None)]
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (6, 6)


def test_sixteen_tokens_unless_told_otherwise(http: httpx.Client) -> None:
    answer = whole(http, prompt="ab" * 20)
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("ab" * 16, "length")
    assert whole(http, prompt="ab" * 20, max_tokens=40).choices[0].text == "ab" * 20


def test_no_tokens_at_all(http: httpx.Client) -> None:
    answer = whole(http, prompt="abc", max_tokens=0, echo=True)
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("abc", "length")
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 0


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        (["one", "two"], ["one", "two"]),
        ([65, 66, 67], ["ABC"]),
        ([[65], [66, 67]], ["A", "BC"]),
        ("", [""]),
        (None, [""]),
    ],
)
def test_the_shapes_of_a_prompt(http: httpx.Client, prompt: Any, texts: list[str]) -> None:
    assert [choice.text for choice in whole(http, prompt=prompt).choices] == texts


def test_choices_are_in_the_order_of_the_prompts(http: httpx.Client) -> None:
    texts = [choice.text for choice in whole(http, prompt=["one", "two"], n=2).choices]
    assert texts == ["one", "(1) one", "two", "(1) two"]


def test_the_prompt_echoed(http: httpx.Client) -> None:
    answer = whole(http, prompt=["a", "b"], n=2, echo=True, stop="(")
    assert [choice.text for choice in answer.choices] == ["aa", "a", "bb", "b"]


def test_logprobs(http: httpx.Client) -> None:
    logprobs = whole(http, prompt="ab日", logprobs=2).choices[0].logprobs
    assert logprobs is not None
    assert logprobs.tokens == ["ab", "\\xe6\\x97", "\\xa5"]
    assert logprobs.text_offset == [0, 2, 2]
    assert logprobs.top_logprobs is not None
    assert all(len(alternatives) >= 2 for alternatives in logprobs.top_logprobs)
    only_own = whole(http, prompt="ab", logprobs=0).choices[0].logprobs
    assert only_own is not None
    assert only_own.top_logprobs is not None
    assert [list(alternatives) for alternatives in only_own.top_logprobs] == [["ab"]]


@pytest.mark.parametrize(
    "fields",
    [{}, {"n": 2, "echo": True}, {"logprobs": 1}, {"prompt": ["x", "y日z"]}, {"stop": "o"}, {"max_tokens": 0}],
    ids=lambda fields: "+".join(fields) or "plain",
)
def test_a_stream_taken_together_is_the_answer(http: httpx.Client, fields: dict[str, Any]) -> None:
    body = {"prompt": "hello 😀", **fields}
    streamed = strictly(Completion, aggregated(http, **body)).model_dump(exclude={"id", "created"})
    assert streamed == whole(http, **body).model_dump(exclude={"id", "created"})


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"suffix": "end"}, "suffix"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"messages": [{"role": "user", "content": "hello"}]}, "messages"),
        ({"max_completion_tokens": 5}, "max_completion_tokens"),
        ({"chat_template_kwargs": {"a": 1}}, "chat_template_kwargs"),
        ({"prompt": [-1]}, "prompt"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"best_of": 3}, "best_of"),
        ({"n": 2, "best_of": 1}, "best_of"),
        ({"echo": True, "logprobs": 1}, "echo"),
        ({"prompt": [1, 2], "echo": True}, "echo"),
        ({"prompt": ["a", 1]}, "prompt.1"),
        ({"prompt": [[]]}, "prompt.0"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [10_000_000]}, "prompt"),
        ({"prompt": [[1]] * 100, "n": 128}, "n"),
        ({"logprobs": 6}, "logprobs"),
        ({"prompt": "x" * 9000}, "prompt"),
    ],
)
def test_what_is_refused(http: httpx.Client, fields: dict[str, Any], param: str) -> None:
    answer = http.post("/v1/completions", json={"model": "echo", "prompt": "hello", **fields})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_a_refusal_of_one_prompt_is_one_of_all(http: httpx.Client) -> None:
    body = {"model": "echo", "prompt": [[65], [10_000_000]], "stream": True}
    answer = http.post("/v1/completions", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "prompt.1"


def test_embeddings(http: httpx.Client, client: openai.OpenAI) -> None:
    answer = http.post("/v1/embeddings", json={"model": "echo", "input": ["one", "two", "one"]})
    decoded = strictly(CreateEmbeddingResponse, answer.content)
    vectors = [data.embedding for data in decoded.data]
    assert [data.index for data in decoded.data] == [0, 1, 2]
    assert vectors[0] == vectors[2] != vectors[1]
    assert all(sum(value * value for value in vector) == pytest.approx(1) for vector in vectors)
    assert decoded.usage.prompt_tokens == decoded.usage.total_tokens == 6
    # The client asks for base64 and decodes it.
    ours = client.embeddings.create(model="echo", input="one").data[0].embedding
    assert ours == pytest.approx(vectors[0], abs=1e-6)


def test_embeddings_as_base64(http: httpx.Client) -> None:
    body = {"model": "echo", "input": [65, 66], "encoding_format": "base64"}
    data = http.post("/v1/embeddings", json=body).json()["data"][0]["embedding"]
    assert len(array("f", base64.b64decode(data))) == 64


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": ["a", ""]}, "input.1"),
        ({"input": []}, "input"),
        ({"input": "x" * 10_000}, "input"),
        ({"input": "a", "dimensions": 8}, "dimensions"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
        ({"input": {"a": 1}}, "input"),
    ],
)
def test_embeddings_that_are_refused(http: httpx.Client, fields: dict[str, Any], param: str) -> None:
    answer = http.post("/v1/embeddings", json={"model": "echo", **fields})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_models(client: openai.OpenAI, http: httpx.Client) -> None:
    assert [model.id for model in client.models.list()] == ["echo", "org/echo"]
    assert client.models.retrieve("echo").owned_by == "echo"
    for path in ("/v1/models/org/echo", "/v1/models/org%2Fecho"):
        assert strictly(Model, http.get(path).content).id == "org/echo"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("nobody")
    assert caught.value.code == "model_not_found"
