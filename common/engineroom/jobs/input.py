"""The `input` of a queue job: every shape that users send, checked and made one request.

The shapes, told apart by the fields that only one of them has::

    {"openai_route": "/v1/chat/completions", "openai_input": {…}}   what RunPod's /openai/v1/* makes of a request
    {"route": "/v1/embeddings", "method": "POST", "body": {…}}      any route that the engine serves
    {"prompt": "…" | "messages": […], "sampling_params": {…}, …}    native; parameters may also stand beside the prompt

Any of them may ask for batch sizes (`max_batch_size`, `min_batch_size`, `batch_size_growth_factor`). What is `null` is
absent. `fields` has the names that clients of other workers send.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import unquote

import msgspec

from ..engine import RunningEngine
from ..errors import APIError
from ..openai.no_effect import NO_EFFECT
from ..openai.routes import CHAT_COMPLETIONS, COMPLETIONS
from ..openai.schemas import ChatRequest, CompletionRequest
from ..openai.strict import SCHEMAS
from ..openai.validation import check, invalid
from ..settings.suggestions import suggest
from .batching import BatchSize
from .fields import ELSEWHERE, PARAMETERS, RENAMED, WITHOUT_EFFECT
from .generate import GenerateRequest

OutputFormat: TypeAlias = Literal["choices", "output", "openai"]

_AtLeastOne: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]
_RequestID: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,128}$")]

_BATCHING = ("max_batch_size", "min_batch_size", "batch_size_growth_factor")
_OF_THE_JOB = frozenset({"model", "messages", "prompt", "stream"})
"""Fields of a request that are no sampling parameters."""


@dataclass(frozen=True, slots=True)
class JobDefaults:
    """What counts where a job does not say.

    output_format: the shape of a native response.
    max_tokens: of a native job; None for the engine's own default.
    unknown_fields: `refuse` a job with a field that nobody knows, or `warn` of it and serve the job without.
    """

    output_format: OutputFormat = "choices"
    max_tokens: int | None = 100
    unknown_fields: Literal["refuse", "warn"] = "refuse"


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
    openai_route: str = CHAT_COMPLETIONS
    openai_input: dict[str, Any] | None = None
    request_id: _RequestID | None = None


class _RouteInput(BatchingOptions, kw_only=True):
    route: str
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] | None = None
    body: dict[str, Any] | None = None
    request_id: _RequestID | None = None


class _NativeInput(BatchingOptions, kw_only=True):
    prompt: str | Annotated[list[str | int | list[int]], msgspec.Meta(min_length=1)] | None = None
    messages: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1)] | None = None
    sampling_params: dict[str, Any] | None = None
    model: str | None = None
    stream: bool = False
    apply_chat_template: bool = False
    output_format: OutputFormat | None = None
    request_id: _RequestID | None = None


@dataclass(frozen=True, slots=True)
class APICall:
    """A request to the engine's HTTP API; `path` is one of the engine's own, checked.

    request_id: what the client calls it, for logs.
    """

    method: str
    path: str
    json: dict[str, Any] | None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class JobInput:
    """A job's input, checked.

    request: what the engine is asked.
    stream: whether the client wants the response in pieces.
    batching: the batch sizes that the job asks for.
    output_format: the shape of a native response; such a job in the format `openai` is an `APICall`.
    ignored: fields that nobody knows, and without which the job is served.
    """

    request: APICall | GenerateRequest
    stream: bool
    batching: BatchingOptions
    output_format: OutputFormat = "choices"
    ignored: tuple[str, ...] = ()

    @classmethod
    def parse(cls, value: Any, engine: RunningEngine, defaults: JobDefaults = JobDefaults()) -> JobInput:
        """Check the `input` of a job for `engine`.

        Raises:
            APIError: naming the field that is wrong.
        """
        if not isinstance(value, dict):
            raise invalid(f"The job's input must be an object, not {_kind(value)}.", "input", "invalid_type")
        fields = _present(value)
        shape = _shape(fields)
        if shape == "openai_input":
            return _from_openai(fields, engine)
        if shape == "body":
            return _from_route(fields, engine, defaults)
        return _from_native(fields, engine, defaults)


def wants_stream(value: Any) -> bool:
    """Whether an input, also a wrong one, asks for a stream: its error must then be in the stream."""
    if not isinstance(value, dict):
        return False
    envelope = next((name for name in ("openai_input", "body") if isinstance(value.get(name), dict)), None)
    body = value[envelope] if envelope else value
    params = value.get("sampling_params")
    stream = body.get("stream")
    if stream is None and isinstance(params, dict):
        stream = params.get("stream")
    return _relaxed(stream, bool) is True


def _present(value: dict[str, Any]) -> dict[str, Any]:
    """The fields that say anything. Forms send what is not filled in as null, or empty, or 0."""
    nothing: dict[str, tuple[Any, ...]] = {
        **dict.fromkeys(_BATCHING, (0, "0", "")),
        **dict.fromkeys(("openai_route", "route", "method", "model"), ("",)),
        **dict.fromkeys(("openai_input", "body"), ({},)),
    }
    present = {}
    for name, item in value.items():
        if item is not None and item not in nothing.get(name, ()) and name not in WITHOUT_EFFECT:
            present[name] = item
    return present


def _shape(fields: dict[str, Any]) -> Literal["openai_input", "body", "native"]:
    """Which shape the input has, named by the field that has the request. What of two shapes is refused."""
    openai = next((name for name in ("openai_route", "openai_input") if name in fields), None)
    native = next((name for name in ("messages", "prompt", "text", "input_ids") if name in fields), None)
    if openai and "route" in fields:
        raise invalid(f"Give either '{openai}' or 'route', not both.", "route", "mutually_exclusive")
    first = openai or ("route" if "route" in fields else None)
    if first is None:
        if isinstance(fields.get("input"), dict):
            raise invalid("The job's input has another 'input' in it; send what is in there.", "input", "invalid_value")
        if native is None:
            raise invalid(
                "The job's input has none of 'openai_input', 'route', 'messages' and 'prompt'; it must have one.",
                "input",
                "missing_required_parameter",
            )
        return "native"
    envelope: Literal["openai_input", "body"] = "openai_input" if openai else "body"
    if native and envelope not in fields:
        raise invalid(f"With '{first}', '{native}' belongs in '{envelope}'.", native, "mutually_exclusive")
    if native:
        raise invalid(f"Give either '{first}' or '{native}', not both.", native, "mutually_exclusive")
    return envelope


def _from_openai(fields: dict[str, Any], engine: RunningEngine) -> JobInput:
    # What RunPod adds one day is no mistake of the user's: unknown fields beside these are left alone.
    asked = check(_typed(fields, _OpenAIInput), _OpenAIInput)
    path = _path(asked.openai_route, "openai_route")
    json = _body(path, asked.openai_input)
    call = APICall(_method(path, json, engine), path, json, asked.request_id)
    return JobInput(call, _streams(json), asked)


def _from_route(fields: dict[str, Any], engine: RunningEngine, defaults: JobDefaults) -> JobInput:
    if isinstance(fields.get("method"), str):
        fields["method"] = fields["method"].upper()
    asked = check(_typed(fields, _RouteInput), _RouteInput)
    unknown = [
        _unknown(name, name, [*_RouteInput.__struct_fields__, *(f"body.{field}" for field in _types(ChatRequest))])
        for name in fields
        if name not in _RouteInput.__struct_fields__
    ]
    ignored = _ignored(unknown, defaults)
    path = _path(asked.route, "route")
    json = _body(path, asked.body)
    method = asked.method or _method(path, json, engine)
    if method == "GET" and json:
        raise invalid("A GET has no body.", "body", "invalid_value")
    call = APICall(method, path, json, asked.request_id)
    return JobInput(call, _streams(json), asked, ignored=ignored)


def _from_native(fields: dict[str, Any], engine: RunningEngine, defaults: JobDefaults) -> JobInput:
    asked, given, inside = _native_fields(fields)
    messages = asked.messages
    prompt = asked.prompt if messages is None else None
    if messages is None and asked.apply_chat_template:
        if not isinstance(prompt, str):
            raise invalid("'apply_chat_template' takes one prompt, which is a string.", "prompt", "invalid_type")
        messages, prompt = [{"role": "user", "content": prompt}], None
    params, unknown = _sampling_params(given, inside, messages is not None, engine)
    ignored = _ignored(unknown, defaults)
    if defaults.max_tokens is not None and not params.keys() & {"max_tokens", "max_completion_tokens"}:
        params["max_tokens"] = defaults.max_tokens
    output_format = asked.output_format or defaults.output_format
    if output_format != "openai":
        _check_fits(params, output_format)
        generation = GenerateRequest(prompt, messages, params, asked.model, asked.request_id)
        return JobInput(generation, asked.stream, asked, output_format, ignored)
    path, text = (COMPLETIONS, {"prompt": prompt}) if messages is None else (CHAT_COMPLETIONS, {"messages": messages})
    json = {**params, **({"model": asked.model} if asked.model else {}), **text, "stream": asked.stream}
    return JobInput(APICall("POST", path, json, asked.request_id), asked.stream, asked, output_format, ignored)


def _native_fields(fields: dict[str, Any]) -> tuple[_NativeInput, dict[str, Any], frozenset[str]]:
    """A native job's own fields, its sampling parameters, and which of these stand in `sampling_params`.

    The others stand beside it; of what is in both, the one inside counts.
    """
    fields = _under_our_names(fields)
    if "batch_size" in fields:
        # RunPod's first LLM worker before 0.3: so many tokens in each item.
        fields.setdefault("max_batch_size", fields.pop("batch_size"))
        fields.setdefault("batch_size_growth_factor", 1)
    if fields.get("messages") == [] and "prompt" in fields:
        del fields["messages"]
    if type(fields.get("request_id")) is int:
        fields["request_id"] = str(fields["request_id"])
    inner = fields.get("sampling_params")
    if isinstance(inner, dict):
        inner = _under_our_names(_present(inner))
        for name in ("model", "stream", "request_id"):
            if name in inner:
                fields.setdefault(name, inner.pop(name))
        fields["sampling_params"] = inner
    own = {name: value for name, value in fields.items() if name in _NativeInput.__struct_fields__}
    asked = check(_typed(own, _NativeInput), _NativeInput)
    beside = {name: value for name, value in fields.items() if name not in own}
    return asked, {**beside, **(inner or {})}, frozenset(inner or ())


def _under_our_names(fields: dict[str, Any]) -> dict[str, Any]:
    renamed = {RENAMED.get(name, name): value for name, value in fields.items()}
    if len(renamed) == len(fields):
        return renamed
    twice = next(name for name in RENAMED if name in fields and RENAMED[name] in fields)
    raise invalid(f"Give either '{RENAMED[twice]}' or '{twice}', not both.", twice, "mutually_exclusive")


def _sampling_params(
    given: Mapping[str, Any], inside: frozenset[str], chat: bool, engine: RunningEngine
) -> tuple[dict[str, Any], list[APIError]]:
    """The parameters that the engine is to get, and the errors for those that nobody knows.

    Args:
        inside: those that stand in `sampling_params`.
    """
    schema, other = (ChatRequest, CompletionRequest) if chat else (CompletionRequest, ChatRequest)
    types = _types(schema)
    known = (types.keys() | engine.sampling_params | NO_EFFECT.keys()) - _OF_THE_JOB - {"best_of"}
    elsewhere = set(other.__struct_fields__) - _OF_THE_JOB
    n = _relaxed(given.get("n"), int)
    params: dict[str, Any] = {}
    unknown: list[APIError] = []
    for name, value in given.items():
        param = f"sampling_params.{name}" if name in inside else name
        documented = PARAMETERS.get(name)
        value = _relaxed(value, types.get(name) or (documented.kind if documented else Any))
        if name == "best_of" and value in (1, n):
            continue
        if chat and name == "logprobs" and type(value) is int:
            # RunPod's first LLM worker took the number in chats as well.
            params["top_logprobs"] = value
            value = True
        if name in known or (engine.capabilities.assumed and name not in _OF_THE_JOB):
            params[name] = value
        elif documented and value not in documented.neutral:
            message = f"This engine does not support '{param}'; {documented.instead}."
            raise invalid(message, param, "unsupported_parameter")
        elif name in elsewhere:
            needs = "a 'prompt' without 'apply_chat_template'" if chat else "'messages'"
            raise invalid(f"'{param}' needs {needs}.", param, "unknown_parameter")
        elif not documented:
            near = known if name in inside else known | set(_NativeInput.__struct_fields__)
            unknown.append(_unknown(param, name, near))
    return params, unknown


def _check_fits(params: Mapping[str, Any], output_format: OutputFormat) -> None:
    """Refuse what the answer to which has no place in a format of text alone."""
    for name in ("tools", "functions"):
        if params.get(name):
            raise invalid(
                f"The output format '{output_format}' has no place for calls of '{name}'; add "
                '"output_format": "openai" to the job, or set NATIVE_OUTPUT_FORMAT=openai.',
                name,
                "unsupported_parameter",
            )


def _unknown(param: str, name: str, known: Iterable[str]) -> APIError:
    if name in ELSEWHERE:
        hint = f" Instead, {ELSEWHERE[name]}."
    else:
        meant = suggest(name, known)
        hint = f" Did you mean '{meant}'?" if meant else ""
    return invalid(f"Unknown parameter: '{param}'.{hint}", param, "unknown_parameter")


def _ignored(unknown: Sequence[APIError], defaults: JobDefaults) -> tuple[str, ...]:
    """The names of unknown fields, where they are only warned of. Raises the first of their errors elsewhere."""
    if unknown and defaults.unknown_fields == "refuse":
        raise unknown[0]
    return tuple(str(error.param) for error in unknown)


@functools.cache
def _types(schema: type[msgspec.Struct]) -> dict[str, Any]:
    return {field.name: field.type for field in msgspec.structs.fields(schema)}


def _typed(fields: dict[str, Any], schema: type[msgspec.Struct]) -> dict[str, Any]:
    """The fields with numbers and booleans as a schema has them, see `_relaxed`."""
    types = _types(schema)
    return {name: _relaxed(value, types[name]) if name in types else value for name, value in fields.items()}


def _relaxed(value: Any, kind: Any) -> Any:
    """`value`; a number or boolean where it stands in a string or, a boolean, as 0 or 1 and `kind` asks for one.

    RunPod's own LLM worker took these, as its engine's check of a request is as lenient.
    """
    if not isinstance(value, (str, int)):
        return value
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        pass
    else:
        return value
    try:
        relaxed = msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        return value
    return relaxed if isinstance(relaxed, (int, float)) else value


def _body(path: str, json: dict[str, Any] | None) -> dict[str, Any] | None:
    """A request's body without what is null, and with numbers as they should be; None where nothing is left."""
    if json is None:
        return None
    # A completion's prompt may be null: OpenAI's then begins anywhere.
    json = {name: value for name, value in json.items() if value is not None or name == "prompt"}
    schema = SCHEMAS.get(path)
    return _typed(json, schema) if schema is not None else json


def _path(route: str, param: str) -> str:
    """A route as a path on the engine, and on nothing else; with a slash less at its end."""
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
    path, mark, query = path.partition("?")
    return (path.rstrip("/") or "/") + mark + query


def _method(path: str, json: dict[str, Any] | None, engine: RunningEngine) -> str:
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
