"""The shapes of a job's input, checked against an engine."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engineroom.errors import APIError
from engineroom.jobs import APICall, GenerateRequest, JobInput, wants_stream
from engineroom.settings import Environment, WorkerSettings
from engineroom_echo import EchoEngine

ENV = Environment.of({"MODEL_NAME": "echo"})


@pytest.fixture(scope="module")
def engine() -> EchoEngine:
    return EchoEngine.configure(WorkerSettings.load(ENV), ENV)


def refusal(value: Any, engine: EchoEngine) -> APIError:
    with pytest.raises(APIError) as caught:
        JobInput.parse(value, engine)
    assert caught.value.status == 400
    return caught.value


def test_openai(engine: EchoEngine) -> None:
    body = {"model": "echo", "stream": True}
    job = JobInput.parse({"openai_route": "/v1/chat/completions", "openai_input": body}, engine)
    assert (job.request, job.stream) == (APICall("POST", "/v1/chat/completions", body), True)


@pytest.mark.parametrize("absent", [{}, {"openai_input": None}, {"openai_input": {}}])
def test_openai_without_a_body(engine: EchoEngine, absent: dict[str, Any]) -> None:
    assert JobInput.parse({"openai_route": "/v1/models", **absent}, engine).request == APICall(
        "GET", "/v1/models", None
    )
    no_get = JobInput.parse({"openai_route": "/v1/completions", **absent}, engine).request
    assert no_get == APICall("POST", "/v1/completions", None)
    nobody_s = JobInput.parse({"openai_route": "/v1/nothing", **absent}, engine).request
    assert nobody_s == APICall("GET", "/v1/nothing", None), "its 404 says what a client did that opened a URL"


def test_what_runpod_adds_one_day_is_no_mistake_of_the_user(engine: EchoEngine) -> None:
    assert JobInput.parse({"openai_route": "/v1/models", "openai_headers": {}}, engine)


def test_route(engine: EchoEngine) -> None:
    assert JobInput.parse({"route": "v1/models"}, engine).request == APICall("GET", "/v1/models", None)
    job = JobInput.parse({"route": "/v1/embeddings", "body": {"input": "a"}}, engine)
    assert job.request == APICall("POST", "/v1/embeddings", {"input": "a"})
    assert JobInput.parse({"route": "/v1/models/a?b=c", "method": "GET"}, engine).request == APICall(
        "GET", "/v1/models/a?b=c", None
    )
    assert JobInput.parse({"route": "/v1/models/Größe 7"}, engine), "a model's name may have more than ASCII"


@pytest.mark.parametrize(
    "route",
    [
        "http://a/b",
        "//a/b",
        "/a/../b",
        "/a/%2e%2e/b",
        "/a/..",
        "/a\\b",
        "/a%0d%0ab",
        "/a#b",
        "/a\nb",
        "ftp://a",
        "/%2f%2fa/http://b",
    ],
)
def test_only_paths_on_the_engine(engine: EchoEngine, route: str) -> None:
    assert refusal({"route": route}, engine).param == "route"
    assert refusal({"openai_route": route}, engine).param == "openai_route"


def test_native(engine: EchoEngine) -> None:
    job = JobInput.parse({"prompt": "a", "sampling_params": {"top_k": 3}, "stream": True}, engine)
    assert job.request == GenerateRequest(prompt="a", sampling_params={"top_k": 3, "max_tokens": 100})
    assert job.stream
    messages = [{"role": "user", "content": "a"}]
    assert JobInput.parse({"messages": messages}, engine).request == GenerateRequest(
        messages=messages, sampling_params={"max_tokens": 100}
    )
    templated = JobInput.parse({"prompt": "a", "apply_chat_template": True}, engine)
    assert templated.request == JobInput.parse({"messages": messages}, engine).request


@pytest.mark.parametrize("given_limit", [{"max_tokens": 7}, {"max_completion_tokens": 7}])
def test_a_given_limit_stands(engine: EchoEngine, given_limit: dict[str, int]) -> None:
    job = JobInput.parse({"messages": [{"role": "user", "content": "a"}], "sampling_params": given_limit}, engine)
    assert isinstance(job.request, GenerateRequest)
    assert job.request.sampling_params == given_limit


@pytest.mark.parametrize(
    ("value", "param", "words"),
    [
        (None, "input", "must be an object, not null"),
        ([], "input", "not an array"),
        ("a", "input", "not a string"),
        ({}, "input", "has none of"),
        ({"prompt": "a", "messages": [{}]}, "prompt", "not both"),
        ({"prompt": 1}, "prompt", "expected a string"),
        ({"messages": "a"}, "messages", "expected an array"),
        ({"messages": []}, "messages", "too short"),
        ({"prompt": "a", "temperature": 1}, "temperature", "sampling_params.temperature"),
        ({"prompt": "a", "streams": True}, "streams", "stream'"),
        ({"prompt": "a", "stream": "yes"}, "stream", "expected a boolean"),
        ({"prompt": "a", "sampling_params": []}, "sampling_params", "expected an object"),
        ({"prompt": "a", "sampling_params": {"topk": 1}}, "sampling_params.topk", "top_k"),
        ({"prompt": "a", "sampling_params": {"tools": []}}, "sampling_params.tools", "needs 'messages'"),
        ({"prompt": "a", "max_batch_size": 0}, "max_batch_size", ">= 1"),
        ({"prompt": "a", "batch_size_growth_factor": 0.5}, "batch_size_growth_factor", ">= 1"),
        ({"prompt": "a", "output_format": "xml"}, "output_format", "xml"),
        ({"openai_route": 5}, "openai_route", "expected a string"),
        ({"openai_route": "/v1/models", "openai_input": []}, "openai_input", "expected an object"),
        ({"route": "/v1/models", "method": "GET", "body": {"a": 1}}, "body", "no body"),
        ({"route": "/v1/models", "methods": "GET"}, "methods", "method'"),
    ],
)
def test_mistakes_are_named(engine: EchoEngine, value: Any, param: str, words: str) -> None:
    error = refusal(value, engine)
    assert error.param == param
    assert words in error.message


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["openai_route", "openai_input", "route", "method", "body"]) | st.sampled_from(
    ["prompt", "messages", "sampling_params", "stream", "max_batch_size"]
)


@given(value=json | st.dictionaries(names, json, max_size=4))
def test_whatever_is_sent_is_a_request_or_an_error(value: Any) -> None:
    engine = EchoEngine.configure(WorkerSettings.load(ENV), ENV)
    assert wants_stream(value) in (True, False)
    refused = None
    try:
        JobInput.parse(value, engine)
    except APIError as error:
        refused = error
    assert refused is None or (refused.status == 400 and refused.param)
