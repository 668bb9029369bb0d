"""What becomes of each field of a request on its way to an engine, seen by sending it: with the field, and without.

No engine generates here: what it would get is recorded. A stand-in answers in place of an engine's server, and the
engines that generate in the worker's process are given words to say.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import json
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import spec_fields
from field_reasons import PROVED_BY, no_effect

from engineroom import plugins
from engineroom.asgi import request
from engineroom.engine import SURFACE_PATHS, Engine, Health
from engineroom.http_client import Sink
from engineroom.in_process import Token, TokenEngine, TokenRequest
from engineroom.openai.serving import chat_template
from engineroom.settings import Environment

Outcome: TypeAlias = Literal["passed", "translated", "refused", "no effect", "ignored"]

ENGINES: Mapping[str, Mapping[str, str]] = {
    "echo": {},
    "transformers": {"MODEL_NAME": "org/model"},
    "openvino": {"MODEL_NAME": "org/model"},
    "llamacpp": {"LLAMA_SERVER": ""},
    "vllm": {"MODEL_NAME": "org/model"},
    "ollama": {"MODEL_NAME": "model"},
    "sglang": {"MODEL_NAME": "model", "TOOL_CALL_PARSER": "auto"},
    "max": {"MODEL_NAME": "org/model", "ENABLE_STRUCTURED_OUTPUT": "true", "TASK": "text_generation"},
    "fastdeploy": {
        "MODEL_NAME": "org/model",
        "FASTDEPLOY_VERSION": "2.6",
        "FASTDEPLOY_CHECKS": "false",
        "ENABLE_LOGPROB": "true",
        "GUIDED_DECODING_BACKEND": "xgrammar",
        "TOOL_CALL_PARSER": "ernie-x1",
    },
}
"""Engine -> its settings, with which it can do the most."""

_RANDOM = re.compile(
    r'(chatcmpl|cmpl|resp|msg|call|toolu|fc|rs)[-_]\w{8,}|"(created|created_at|completed_at)": ?[\d.]+'
)

_NAMED = re.compile(r"(?:^|')([\w.]+)(?:'|:)")


class Observed(NamedTuple):
    """What a request came to.

    params: the fields that an error names.
    sent: what the engine got, once for each choice; fields of the engine's own words.
    """

    status: int
    params: list[str]
    sent: list[dict[str, Any]]
    answer: str


class FieldObserver:
    """Sends requests to one engine that is not running, and sees what it would get."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._sent: list[dict[str, Any]] = []
        env = Environment.of({"ENGINE": name, **ENGINES[name]})
        self.engine: Engine = plugins.open_engine(env)
        self.engine.health = lambda: Health(live=True, ready=True, reason="ready")  # type: ignore[method-assign]
        if isinstance(self.engine, TokenEngine):
            self._record_tokens(self.engine)
        else:
            self._record_server(self.engine)

    def has(self, surface: str) -> bool:
        """Whether the engine serves it, with the right model."""
        return surface in self.engine.capabilities.served_surfaces

    def outcome(self, field: spec_fields.SpecField) -> Outcome:
        """What becomes of one field."""
        seen = self.observe(field.surface, field.request)
        if seen.status == 400 and any(names_field(param, field) for param in seen.params):
            return "refused"
        if seen.status != 200:
            raise AssertionError(f"{self.name} {field.surface} {field.path}: {seen.status} {seen.params} {seen.answer}")
        if no_effect(field) is not None:
            return "no effect"
        if (field.surface, field.path) in PROVED_BY:
            return "translated"
        plain = self.observe(field.surface, field.without)
        if plain.status != 200:
            # What is left without the field is not a request: the field alone makes its part one.
            plain = self.observe(field.surface, spec_fields.BASES[field.surface])
        value = field.value(field.request)
        if value is not None and all(sent.get(field.path) == value for sent in seen.sent):
            return "passed"
        if seen.sent != plain.sent:
            return "passed" if value is None and _inside(field, seen.sent) else "translated"
        return "ignored" if seen.answer == plain.answer else "translated"

    def observe(self, surface: str, body: Mapping[str, Any]) -> Observed:
        """Send one request."""
        self._sent = []
        return asyncio.run(self._observe(SURFACE_PATHS[surface], {"model": self.engine.models[0], **body}))  # type: ignore[index]

    async def _observe(self, path: str, body: dict[str, Any]) -> Observed:
        if body["model"] == "model":
            body["model"] = self.engine.models[0]
        async with request(self.engine.app, "POST", path, json=body) as response:
            text = (await response.read()).decode()
            params: list[str] = []
            if response.status >= 400:
                error = json.loads(text)["error"]
                # Anthropic's errors have no `param`; the sentence names the field.
                params = [error["param"]] if error.get("param") else _NAMED.findall(error["message"])
            return Observed(response.status, params, self._sent, _RANDOM.sub("", _without_echo(text)))

    def _record_tokens(self, engine: TokenEngine) -> None:
        """An engine that generates in this process: its own sampling is checked, its words are ours."""
        observer = self
        engine.max_model_len = 4096
        engine.vocabulary_size = 100_000
        chat: dict[str, Any] = {}

        def chat_prompt(messages: Sequence[Mapping[str, Any]], params: Mapping[str, Any]) -> list[int]:
            chat.clear()
            chat.update(chat_template.variables(params))
            return list(json.dumps(chat_template.fitted(messages, "tools", params.get("tools"))).encode())

        async def generate_tokens(asked: TokenRequest) -> AsyncGenerator[Token, None]:
            fields = {name: getattr(asked, name) for name in TokenRequest.__slots__ if name != "params"}
            observer._sent.append({**chat, **fields, **asked.params})
            check_params(engine, asked)
            for word in ('{"name": "add", "arguments": {"a": 1}}',) if asked.schema else ("hello ", "END", " tail"):
                yield Token(word.encode(), 5, -0.5 if asked.logprobs is not None else None)
            yield Token(finish_reason="stop")

        async def embed(prompts: Sequence[Sequence[int]]) -> list[list[float]]:
            observer._sent.append({"input": prompts})
            return [[0.5] for _ in prompts]

        engine.tokenize = lambda text: list(text.encode())  # type: ignore[method-assign]
        engine.chat_prompt = chat_prompt  # type: ignore[method-assign]
        engine.generate_tokens = generate_tokens  # type: ignore[method-assign]
        engine.embed = embed  # type: ignore[method-assign]

    def _record_server(self, engine: Any) -> None:
        """An engine that is a server: what would be sent to it is recorded, and a stand-in answers."""
        proxy = engine._proxy = engine.make_proxy()

        async def open_recorded(scope: Mapping[str, Any], body: bytes) -> StandinResponse:
            sent = json.loads(body)
            # A server with an API of its own gets a request in its own words; its adapter makes the stream's events.
            streams = {name: sent[name] for name in ("stream", "stream_options") if name in sent}
            native = {**engine.native(scope["path"], sent), **streams} if hasattr(engine, "native") else sent
            self._sent.append(native)
            return StandinResponse(scope["path"], sent)

        proxy.open = open_recorded
        chat_and_more = {
            (method, path)
            for method, path in type(engine).routes.fget(engine)  # type: ignore[attr-defined]
        } | {("POST", SURFACE_PATHS[surface]) for surface in engine.capabilities.surfaces}
        from engineroom.engine import Route

        served = frozenset(Route(*route) for route in chat_and_more)
        # A class of its own: other engines of the kind, in tests of the same process, keep their routes.
        kind = type(engine)
        engine.__class__ = type(kind.__name__, (kind,), {"routes": property(lambda _: served)})


class StandinResponse:
    """What an engine's server answers: the same words to everything."""

    status = 200

    def __init__(self, path: str, sent: Mapping[str, Any]) -> None:
        self._streams = bool(sent.get("stream"))
        self._chat = path.endswith("/chat/completions")
        if path.endswith("/embeddings"):
            vector = {"object": "embedding", "index": 0, "embedding": [0.5]}
            whole: Any = {"object": "list", "data": [vector], "model": "m", "usage": {"prompt_tokens": 1}}
            whole["embeddings"] = [[0.5] * 4096]  # In Ollama's words, which its adapter puts into these.
            self._body = json.dumps(whole).encode()
        else:
            self._body = self._generated()
        self.content_type = "text/event-stream" if self._streams else "application/json"
        self.headers = {"content-type": self.content_type}
        self._unread = self._body

    def _generated(self) -> bytes:
        message = {"role": "assistant", "content": "hello END tail"}
        words = {"delta" if self._streams else "message": message} if self._chat else {"text": "hello END tail"}
        head = {"id": "x", "object": "x", "created": 1, "model": "m"}
        usage = {"usage": {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}}
        event = {**head, "choices": [{"index": 0, **words, "finish_reason": "stop", "logprobs": None}]}
        if not self._streams:
            return json.dumps({**event, **usage}).encode()
        events = [event, {**head, "choices": [], **usage}]
        return b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in events) + b"data: [DONE]\n\n"

    async def __aenter__(self) -> StandinResponse:
        return self

    async def __aexit__(self, *_: object) -> None:
        """There is nothing to close."""

    async def read(self) -> bytes:
        return self._body

    @property
    def complete(self) -> bool:
        return not self._unread

    async def read_available(self) -> bytes:
        unread, self._unread = self._unread, b""
        return unread

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        yield await self.read_available()

    async def relay(self, sink: Sink) -> None:
        piece = await self.read_available()
        sending = sink(piece, self.complete) if piece else None
        if sending is not None:
            await sending


def check_params(engine: TokenEngine, asked: TokenRequest) -> None:
    """The engine's own look at a request's parameters, which needs no model."""
    if engine.name == "echo":
        from engineroom_echo.settings import EchoOptions

        EchoOptions.of(engine._settings, asked.params)  # type: ignore[attr-defined]
    else:
        from engineroom.openai.validation import check

        settings = importlib.import_module(f"engineroom_{engine.name}.settings")
        check(asked.params, getattr(settings, {"transformers": "Params"}.get(engine.name, "SamplingParams")))


def names_field(param: str, field: spec_fields.SpecField) -> bool:
    """Whether an error is about this field, in the client's own words."""
    named = [part for part in param.split(".") if not part.isdigit()]
    # A kind that is not served is named by its `type`.
    beside = spec_fields.NEEDED.get((field.surface, field.names[0]), {})
    of_it = named[0] == field.names[0] and set(named) <= {*field.names, "type", "role"}
    return of_it or named[0] in beside


def _inside(field: spec_fields.SpecField, sent: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a part of a field arrives as it is in the request."""
    top = field.names[0]
    return all(each.get(top) == field.request[top] for each in sent)


@functools.cache
def _fields_of_responses() -> frozenset[str]:
    return frozenset(field.names[0] for field in spec_fields.spec_fields("responses"))


def _without_echo(text: str) -> str:
    """An answer without the fields of the request that Responses repeat: repeating a field is not acting on it."""
    known = _fields_of_responses()

    def stripped(value: Any) -> Any:
        if isinstance(value, list):
            return [stripped(each) for each in value]
        if not isinstance(value, dict):
            return value
        repeats = value.get("object") == "response"
        return {name: stripped(each) for name, each in value.items() if not (repeats and name in known)}

    lines = []
    for line in text.splitlines():
        prefix, brace, rest = line.partition("{")
        try:
            lines.append(prefix + json.dumps(stripped(json.loads(brace + rest))) if brace else line)
        except ValueError:
            lines.append(line)
    return "\n".join(lines)
