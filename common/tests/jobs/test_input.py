"""The shapes of a job's input, checked against an engine."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engineroom.errors import APIError
from engineroom.jobs import APICall, BatchingOptions, GenerateRequest, JobDefaults, JobInput, wants_stream
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


def asked(value: Any, engine: EchoEngine) -> tuple[Any, ...]:
    """What a job comes to."""
    job = JobInput.parse(value, engine)
    return job.request, job.stream, job.batching.batch_size(BatchingOptions()), job.output_format, wants_stream(value)


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


def test_worker_vllm_s_levels(engine: EchoEngine) -> None:
    newest = JobDefaults("openai", None)
    messages = [{"role": "user", "content": "a"}]
    chat = {"messages": messages, "sampling_params": {"top_k": 3}, "model": "echo", "stream": True, "tools": []}
    job = JobInput.parse(chat, engine, newest)
    body = {"messages": messages, "top_k": 3, "model": "echo", "stream": True, "tools": []}
    assert (job.request, job.stream) == (APICall("POST", "/v1/chat/completions", body), True)
    completion = JobInput.parse({"prompt": ["a", "b"]}, engine, newest)
    assert completion.request == APICall("POST", "/v1/completions", {"prompt": ["a", "b"], "stream": False})
    assert JobInput.parse({"prompt": "a", "output_format": "choices"}, engine, newest).request == GenerateRequest("a")


SAME = [
    ({"text": "a", "sampling_params": {"max_new_tokens": 5}}, {"prompt": "a", "max_tokens": 5}),
    ({"input_ids": [1, 2], "stream": 1}, {"prompt": [1, 2], "stream": True}),
    ({"prompt": "a", "stream": "true"}, {"prompt": "a", "stream": True}),
    (
        {"prompt": "a", "max_tokens": "5", "top_p": "0.5"},
        {"prompt": "a", "sampling_params": {"top_p": 0.5, "max_tokens": 5}},
    ),
    ({"prompt": "a", "sampling_params": {"max_tokens": 5}, "max_tokens": 7}, {"prompt": "a", "max_tokens": 5}),
    (
        {"prompt": "a", "sampling_params": {"stream": True, "model": "echo"}},
        {"prompt": "a", "stream": True, "model": "echo"},
    ),
    ({"prompt": "a", "use_openai_format": 1, "apply_chat_template": 1}, {"prompt": "a", "apply_chat_template": True}),
    ({"prompt": "a", "batch_size": 30}, {"prompt": "a", "max_batch_size": 30, "batch_size_growth_factor": 1}),
    ({"prompt": "a", "max_batch_size": "3", "min_batch_size": 0}, {"prompt": "a", "max_batch_size": 3}),
    ({"prompt": "a", "messages": [{"role": "user"}]}, {"messages": [{"role": "user"}]}),
    ({"prompt": "a", "messages": []}, {"prompt": "a"}),
    ({"prompt": "a", "sampling_params": {"n": 2, "best_of": 2, "early_stopping": False}}, {"prompt": "a", "n": 2}),
    ({"prompt": "a", "stop_token_ids": [], "skip_special_tokens": 1, "use_beam_search": 0}, {"prompt": "a"}),
    (
        {"messages": [{"role": "user"}], "logprobs": 5},
        {"messages": [{"role": "user"}], "logprobs": 1, "top_logprobs": 5},
    ),
    ({"prompt": "a", "request_id": 7}, {"prompt": "a", "request_id": "7"}),
    ({"openai_input": {"messages": []}}, {"openai_route": "/v1/chat/completions", "openai_input": {"messages": []}}),
    ({"openai_route": "", "route": None, "prompt": "a", "openai_input": {}}, {"prompt": "a"}),
    ({"route": "/v1/models/", "method": "get", "body": {}}, {"route": "/v1/models"}),
    (
        {"openai_input": {"stream": "True", "n": "2", "logprobs": 1, "stop": None, "model": None, "top_k": "4"}},
        {"openai_input": {"stream": True, "n": 2, "logprobs": True, "top_k": "4"}},
    ),
]


@pytest.mark.parametrize(("sent", "meant"), SAME, ids=lambda value: str(value)[:50])
def test_what_clients_send_is_what_they_mean(engine: EchoEngine, sent: dict[str, Any], meant: dict[str, Any]) -> None:
    assert asked(sent, engine) == asked(meant, engine)


@pytest.mark.parametrize("shape", SAME, ids=lambda value: str(value[1])[:50])
def test_null_is_absent(engine: EchoEngine, shape: tuple[dict[str, Any], dict[str, Any]]) -> None:
    meant = shape[1]
    absent = dict.fromkeys(["openai_route", "openai_input", "route", "method", "body", "prompt", "text", "messages"])
    absent |= dict.fromkeys(["sampling_params", "model", "stream", "max_batch_size", "output_format", "tools", "foo"])
    if "sampling_params" in meant:
        meant = {**meant, "sampling_params": {"top_k": None, "nobody_s": None, **meant["sampling_params"]}}
    assert asked({**absent, **meant}, engine) == asked(shape[1], engine)


def test_unknown_fields_are_left_out_where_they_are_only_warned_of(engine: EchoEngine) -> None:
    lenient = JobDefaults(unknown_fields="warn")
    job = JobInput.parse({"prompt": "a", "foo": 1, "sampling_params": {"topk": 2, "top_k": 2}}, engine, lenient)
    assert job.request == GenerateRequest(prompt="a", sampling_params={"top_k": 2, "max_tokens": 100})
    assert job.ignored == ("foo", "sampling_params.topk")
    route = JobInput.parse({"route": "/v1/models", "methods": "GET"}, engine, lenient)
    assert route.ignored == ("methods",)


THINKING = ("sampling_params.enable_thinking", '"chat_template_kwargs": {"enable_thinking"')


@pytest.mark.parametrize(
    ("value", "param", "words"),
    [
        (None, "input", "must be an object, not null"),
        ([], "input", "not an array"),
        ("a", "input", "not a string"),
        ({}, "input", "has none of"),
        ({"openai_route": "/v1/models", "route": "/v1/models"}, "route", "not both"),
        ({"openai_route": "/v1/chat/completions", "messages": [{}]}, "messages", "in 'openai_input'"),
        ({"route": "/v1/completions", "prompt": "a"}, "prompt", "in 'body'"),
        ({"openai_input": {"messages": []}, "prompt": "a"}, "prompt", "not both"),
        ({"input": {"prompt": "a"}}, "input", "has another 'input' in it"),
        ({"prompt": "a", "do_sample": False}, "do_sample", "leave it out"),
        ({"prompt": "a", "guided_json": {}}, "guided_json", '"response_format"'),
        ({"prompt": 1}, "prompt", "expected one of a string or an array"),
        ({"prompt": ["a", "b"], "apply_chat_template": True}, "prompt", "one prompt"),
        ({"prompt": "a", "text": "b"}, "text", "not both"),
        ({"prompt": "a", "sampling_params": {"max_tokens": 1, "max_new_tokens": 1}}, "max_new_tokens", "not both"),
        ({"messages": "a"}, "messages", "expected an array"),
        ({"messages": []}, "messages", "too short"),
        ({"prompt": "a", "temprature": 1}, "temprature", "'temperature'"),
        ({"messages": [{}], "system_prompt": "be brief"}, "system_prompt", "with the role 'system'"),
        ({"messages": [{}], "sampling_params": {"enable_thinking": False}}, *THINKING),
        ({"prompt": "a", "use_beam_search": True}, "use_beam_search", "leave it out, and sample"),
        ({"prompt": "a", "sampling_params": {"stop_token_ids": [2]}}, "sampling_params.stop_token_ids", "'stop'"),
        ({"messages": [{}], "best_of": 3, "n": 2}, "best_of", "write 'n' instead"),
        ({"messages": [{}], "tools": [{}]}, "tools", '"output_format": "openai"'),
        ({"prompt": "a", "request_id": "a b"}, "request_id", "pattern"),
        ({"prompt": "a", "streams": True}, "streams", "stream'"),
        ({"prompt": "a", "stream": "yes"}, "stream", "expected a boolean"),
        ({"prompt": "a", "sampling_params": []}, "sampling_params", "expected an object"),
        ({"prompt": "a", "sampling_params": {"topk": 1}}, "sampling_params.topk", "top_k"),
        ({"prompt": "a", "sampling_params": {"tools": []}}, "sampling_params.tools", "needs 'messages'"),
        ({"prompt": "a", "max_batch_size": -1}, "max_batch_size", ">= 1"),
        ({"prompt": "a", "batch_size_growth_factor": 0.5}, "batch_size_growth_factor", ">= 1"),
        ({"prompt": "a", "output_format": "xml"}, "output_format", "xml"),
        ({"openai_route": 5}, "openai_route", "expected a string"),
        ({"openai_route": "/v1/models", "openai_input": []}, "openai_input", "expected an object"),
        ({"route": "/v1/models", "method": "GET", "body": {"a": 1}}, "body", "no body"),
        ({"route": "/v1/models", "methods": "GET"}, "methods", "method'"),
        ({"route": "/v1/completions", "stream": True}, "stream", "body.stream"),
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
