"""The `input` of a queue job: every shape that users send, checked and made one request.

The shapes, told apart by the one field that each must have::

    {"openai_route": "/v1/chat/completions", "openai_input": {…}}   what RunPod's /openai/v1/* makes of a request
    {"route": "/v1/embeddings", "method": "POST", "body": {…}}      any route that the engine serves
    {"prompt": "…" | "messages": […], "sampling_params": {…}, …}    native

Any of them may ask for batch sizes (`max_batch_size`, `min_batch_size`, `batch_size_growth_factor`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import unquote

import msgspec

from ..engine import Engine
from ..errors import APIError
from ..openai.schemas import ChatRequest, CompletionRequest
from ..openai.validation import check, invalid
from ..settings.suggestions import suggest
from .batching import BatchSize
from .generate import GenerateRequest

DEFAULT_MAX_TOKENS = 100
"""Of a native job that names no number; RunPod's own LLM worker had this default up to 2.23."""

OutputFormat: TypeAlias = Literal["choices", "output"]

_AtLeastOne: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]


class BatchingOptions(msgspec.Struct, kw_only=True):
    """The batch sizes that a job asks for; None for what it leaves to the worker."""

    max_batch_size: _AtLeastOne | None = None
    min_batch_size: _AtLeastOne | None = None
    batch_size_growth_factor: Annotated[float, msgspec.Meta(ge=1)] | None = None

    def batch_size(self, defaults: BatchingOptions) -> BatchSize | None:
        """The batch sizes for the job; None where neither the job nor `defaults` ask for any."""
        maximum = self.max_batch_size or defaults.max_batch_size
        minimum = self.min_batch_size or defaults.min_batch_size
        growth = self.batch_size_growth_factor or defaults.batch_size_growth_factor
        if maximum is None and minimum is None and growth is None:
            return None
        standard = BatchSize()
        return BatchSize(maximum or standard.maximum, minimum or standard.minimum, growth or standard.growth)


class _OpenAIInput(BatchingOptions, kw_only=True):
    openai_route: str
    openai_input: dict[str, Any] | None = None


class _RouteInput(BatchingOptions, kw_only=True):
    route: str
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] | None = None
    body: dict[str, Any] | None = None


class _NativeInput(BatchingOptions, kw_only=True):
    prompt: str | None = None
    messages: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1)] | None = None
    sampling_params: dict[str, Any] | None = None
    model: str | None = None
    stream: bool = False
    apply_chat_template: bool = False
    output_format: OutputFormat | None = None
    use_openai_format: bool = False
    """Old clients send it; it never had an effect."""


@dataclass(frozen=True, slots=True)
class APICall:
    """A request to the engine's HTTP API; `path` is one of the engine's own, checked."""

    method: str
    path: str
    json: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class JobInput:
    """A job's input, checked.

    request: what the engine is asked.
    stream: whether the client wants the response in pieces.
    batching: the batch sizes that the job asks for.
    output_format: the shape of a native response, where the job asks for one.
    """

    request: APICall | GenerateRequest
    stream: bool
    batching: BatchingOptions
    output_format: OutputFormat | None = None

    @classmethod
    def parse(cls, value: Any, engine: Engine) -> JobInput:
        """Check the `input` of a job for `engine`.

        Raises:
            APIError: naming the field that is wrong.
        """
        if not isinstance(value, dict):
            raise invalid(f"The job's input must be an object, not {_kind(value)}.", "input", "invalid_type")
        shapes = [name for name in ("openai_route", "route", "messages", "prompt") if value.get(name) is not None]
        if not shapes:
            raise invalid(
                "The job's input has none of 'openai_route', 'route', 'messages' and 'prompt'; it must have one.",
                "input",
                "missing_required_parameter",
            )
        if len(shapes) > 1:
            raise invalid(f"Give either '{shapes[0]}' or '{shapes[1]}', not both.", shapes[1], "mutually_exclusive")
        if shapes[0] == "openai_route":
            return _from_openai(check(value, _OpenAIInput), engine)
        if shapes[0] == "route":
            _no_unknown(value, _RouteInput)
            return _from_route(check(value, _RouteInput), engine)
        _no_unknown(value, _NativeInput)
        return _from_native(check(value, _NativeInput), engine)


def wants_stream(value: Any) -> bool:
    """Whether an input, also a wrong one, asks for a stream: its error must then be in the stream."""
    if not isinstance(value, dict):
        return False
    if value.get("openai_route") is not None or value.get("route") is not None:
        body = value.get("openai_input") or value.get("body")
    else:
        body = value
    return isinstance(body, dict) and body.get("stream") is True


def _from_openai(fields: _OpenAIInput, engine: Engine) -> JobInput:
    json = fields.openai_input or None
    path = _path(fields.openai_route, "openai_route")
    return JobInput(APICall(_method(path, json, engine), path, json), _streams(json), fields)


def _from_route(fields: _RouteInput, engine: Engine) -> JobInput:
    path = _path(fields.route, "route")
    method = fields.method or _method(path, fields.body, engine)
    if method == "GET" and fields.body:
        raise invalid("A GET has no body.", "body", "invalid_value")
    return JobInput(APICall(method, path, fields.body), _streams(fields.body), fields)


def _from_native(fields: _NativeInput, engine: Engine) -> JobInput:
    params = dict(fields.sampling_params or {})
    messages = fields.messages
    prompt = fields.prompt
    if messages is None and fields.apply_chat_template:
        messages, prompt = [{"role": "user", "content": prompt}], None
    _check_sampling_params(params, chat=messages is not None, engine=engine)
    if "max_tokens" not in params and "max_completion_tokens" not in params:
        params["max_tokens"] = DEFAULT_MAX_TOKENS
    request = GenerateRequest(prompt=prompt, messages=messages, sampling_params=params, model=fields.model)
    return JobInput(request, fields.stream, fields, fields.output_format)


def _check_sampling_params(params: dict[str, Any], *, chat: bool, engine: Engine) -> None:
    schema, other = (ChatRequest, CompletionRequest) if chat else (CompletionRequest, ChatRequest)
    not_sampling = {"model", "messages", "prompt", "stream", "stream_options"}
    known = (set(schema.__struct_fields__) - not_sampling) | engine.sampling_params
    for name in params:
        if name in known:
            continue
        param = f"sampling_params.{name}"
        if name in set(other.__struct_fields__) - not_sampling:
            needs = "a 'prompt' without 'apply_chat_template'" if chat else "'messages'"
            raise invalid(f"'{param}' needs {needs}.", param, "unknown_parameter")
        meant = suggest(name, known)
        hint = f" Did you mean '{meant}'?" if meant else ""
        raise invalid(f"Unknown parameter: '{param}'.{hint}", param, "unknown_parameter")


def _no_unknown(value: dict[str, Any], schema: type[msgspec.Struct]) -> None:
    known = schema.__struct_fields__
    for name in value:
        if name in known:
            continue
        if schema is _NativeInput and name in ChatRequest.__struct_fields__:
            hint = f" Did you mean 'sampling_params.{name}'?"
        else:
            meant = suggest(name, known)
            hint = f" Did you mean '{meant}'?" if meant else ""
        raise invalid(f"Unknown parameter: '{name}'.{hint}", name, "unknown_parameter")


def _path(route: str, param: str) -> str:
    """A route as a path on the engine, and on nothing else."""
    path = route if route.startswith("/") else "/" + route
    plain = unquote(path.partition("?")[0])
    if (
        "://" in plain
        or plain.startswith("//")
        or ".." in plain.split("/")
        or "\\" in plain
        or "#" in path
        or not plain.isprintable()
        or not path.isprintable()
    ):
        raise APIError(
            f"'{route[:200]}' is not a route of this worker; give a path such as /v1/chat/completions.",
            param=param,
            code="invalid_value",
        )
    return path


def _method(path: str, json: dict[str, Any] | None, engine: Engine) -> str:
    """POST with a body; without one GET, unless the route has only others."""
    if json is not None:
        return "POST"
    plain = path.partition("?")[0]
    methods = {route.method for route in engine.served_routes if route.matches(plain)}
    return "POST" if methods and "GET" not in methods else "GET"


def _streams(json: dict[str, Any] | None) -> bool:
    return json is not None and json.get("stream") is True


def _kind(value: Any) -> str:
    kinds = {str: "a string", bool: "a boolean", list: "an array", type(None): "null"}
    return kinds.get(type(value), "a number")
