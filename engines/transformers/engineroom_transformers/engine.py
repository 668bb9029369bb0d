"""transformers as a TokenEngine."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from engineroom.engine import Requirement, Route
from engineroom.errors import APIError, EngineStartError, Problem, SettingsError
from engineroom.openai.calls import MARKERS
from engineroom.settings import WorkerSettings
from engineroom.tokens import Token, TokenEngine, TokenRequest

from . import embedding, loading
from .batching import Batching
from .ranks import Ranks
from .sampling import Sampling
from .settings import Params, TransformersSettings

if TYPE_CHECKING:
    from llguidance import LLTokenizer
    from typing_extensions import Self

    from engineroom.environment import Environment
    from engineroom.settings import SettingsGroup

_LIBRARIES = ("torch", "transformers", "accelerate", "llguidance")
_GREEDY = 1e-5
"""Below this temperature nothing is drawn; dividing by it would overflow."""


class TransformersEngine(TokenEngine):
    """Any model that transformers can load: continuously batched text, or embeddings of an encoder."""

    name = "transformers"
    summary = "Hugging Face transformers in this process: any model, continuous batching, CPU or GPU."
    sampling_params = frozenset(Params.model_fields)

    def __init__(self, worker: WorkerSettings, settings: TransformersSettings, model: str) -> None:
        super().__init__(worker)
        self._name, self._settings = model, settings
        path = Path(model)
        self._models = worker.served_model_name or (
            path.stem if path.is_file() else path.name if path.is_dir() else model,
        )
        self._batching: Batching | None = None
        self._ranks = Ranks(model, settings)
        self._one_at_a_time = asyncio.Lock()
        self._generated = 0
        self._abandoned = False

    @classmethod
    def settings(cls, env: Environment) -> tuple[SettingsGroup, ...]:
        return (TransformersSettings,)

    @classmethod
    def configure(cls, env: Environment) -> Self:
        worker, settings = WorkerSettings.load(env), TransformersSettings.load(env)
        problems = []
        if not worker.model_name:
            problems.append(Problem("MODEL_NAME", "which model? a repository `org/name`, a folder or a GGUF file"))
        if settings.chat_template and not Path(settings.chat_template).is_file():
            problems.append(Problem("CHAT_TEMPLATE", "there is no such file", env.source("CHAT_TEMPLATE")))
        if problems:
            raise SettingsError(problems)
        return cls(worker, settings, worker.model_name or "")

    @classmethod
    def requirements(cls, env: Environment) -> tuple[Requirement, ...]:
        missing = [name for name in _LIBRARIES if find_spec(name) is None]
        remedy = f"pip install 'engineroom-transformers[engine]' (missing: {', '.join(missing)})"
        return (Requirement(", ".join(_LIBRARIES), not missing, remedy),)

    @property
    def models(self) -> tuple[str, ...]:
        return self._models

    @property
    def routes(self) -> frozenset[Route]:
        if not hasattr(self, "_loaded"):
            return super().routes
        text = self._loaded.pooling is None
        return frozenset(r for r in super().routes if r.method == "GET" or (r.path == "/v1/embeddings") is not text)

    async def load(self) -> None:
        try:
            await _in_thread(self._load)
        except asyncio.CancelledError:
            self._abandoned = True
            raise
        except Exception as error:
            raise EngineStartError(loading.explain(error, self._name, self._settings)) from error
        if self._batching is not None:
            self._batching.watch(self.die)

    def _load(self) -> None:
        settings = self._settings
        if settings.tensor_parallel_size > 1:
            self._ranks.start()
        self._loaded = loaded = loading.load(self._name, settings, settings.tensor_parallel_size)
        config = loaded.model.config.get_text_config()
        limits = [settings.max_model_len, getattr(config, "max_position_embeddings", None)]
        if loaded.pooling is None:
            self._text = text_tokenizer(loaded)
            self._eos = _ids(loaded.model.generation_config.eos_token_id) or _ids(loaded.tokenizer.eos_token_id)
            self._silent = frozenset(
                token
                for token in loaded.tokenizer.all_special_ids
                if loaded.tokenizer.convert_ids_to_tokens(token) not in MARKERS
            )
            self._batching = Batching(loaded.model, self._text, settings)
            limits.append(self._batching.capacity)
            if self._abandoned:
                self._batching.stop()
        self._vocabulary: int = config.vocab_size
        self.max_model_len = min((limit for limit in limits if limit), default=self._vocabulary)

    async def unload(self) -> None:
        if self._batching is not None:
            await asyncio.to_thread(self._batching.stop)
        await asyncio.to_thread(self._ranks.stop)
        self._batching = None

    def tokenize(self, text: str) -> list[int]:
        ids: list[int] = self._loaded.tokenizer(text)["input_ids"]
        return ids

    def chat_prompt(self, messages: Sequence[Mapping[str, Any]], params: Mapping[str, Any]) -> list[int]:
        from jinja2 import TemplateError

        tokenizer = self._loaded.tokenizer
        template = tokenizer.chat_template
        if not template:
            raise APIError("This model has no chat template; CHAT_TEMPLATE can give it one.", param="messages")
        tools = params.get("tools") or None
        if tools and "tools" not in str(template):
            raise APIError(
                "This model's chat template has no place for tools, so the model would never see them. "
                "CHAT_TEMPLATE can give it another template.",
                param="tools",
                code="unsupported_parameter",
            )
        names = ("add_generation_prompt", "continue_final_message", "reasoning_effort")
        options = {
            **{n: params[n] for n in names if params.get(n) is not None},
            **(params.get("chat_template_kwargs") or {}),
        }
        options.setdefault("add_generation_prompt", not options.get("continue_final_message"))
        try:
            said = [_for_template(message, str(template)) for message in messages]
            text = tokenizer.apply_chat_template(said, tools=tools, tokenize=False, **options)
        except (TemplateError, TypeError, ValueError, KeyError) as error:
            raise APIError(f"The chat template refuses these messages: {error}", param="messages") from error
        ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    async def generate_tokens(self, request: TokenRequest) -> AsyncGenerator[Token, None]:
        sampling = self._sampling(request)
        assert self._batching is not None
        count = 0
        async with aclosing(self._batching.generate(request.prompt, request.max_tokens, sampling)) as tokens:
            async for token in tokens:
                count, self._generated = count + 1, self._generated + 1
                own, top = sampling.told[count - 1] if sampling.logprobs is not None else (None, [])
                if token in sampling.eos:
                    yield Token(id=token, finish_reason="stop")
                    return
                yield Token(self._bytes(token), token, own, [(self._bytes(t, True), p) for t, p in top])
        yield Token(finish_reason="length")

    def _sampling(self, request: TokenRequest) -> Sampling:
        try:
            params = Params.model_validate({name: v for name, v in request.params.items() if v is not None})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            param = ".".join(map(str, first["loc"]))
            known = "transformers knows no such parameter" if first["type"] == "extra_forbidden" else first["msg"]
            raise APIError(f"Invalid '{param}': {known}.", param=param, code="invalid_value") from error
        if any(not 0 <= t < self._vocabulary for t in (*request.prompt, *params.logit_bias, *params.stop_token_ids)):
            raise APIError(f"Token ids go from 0 to {self._vocabulary - 1}.", param="prompt", code="invalid_value")
        return Sampling(
            params=params,
            temperature=request.temperature if request.temperature >= _GREEDY else 0,
            top_p=request.top_p,
            seed=((request.seed if request.seed is not None else secrets.randbits(62)) + request.choice) % 2**63,
            prompt=request.prompt,
            eos=(*(() if params.ignore_eos and request.schema is None else self._eos), *params.stop_token_ids),
            grammar=None if request.schema is None else self._grammar(request.schema),
            logprobs=request.logprobs,
        )

    def _grammar(self, schema: Mapping[str, Any]) -> str:
        from llguidance import LLMatcher

        try:
            grammar: str = LLMatcher.grammar_from_json_schema(json.dumps(schema or {"type": "object"}))
            problem = LLMatcher.validate_grammar(grammar, self._text)
        except ValueError as error:
            problem = str(error)
        if problem:
            raise APIError(f"This JSON schema cannot be enforced: {problem}", code="unsupported_schema")
        return grammar

    def _bytes(self, token: int, special: bool = False) -> bytes:
        return b"" if token in self._silent and not special else bytes(self._text.decode_bytes([token]))

    async def embed(self, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
        async with self._one_at_a_time:
            return await asyncio.to_thread(embedding.embed, self._loaded, prompts)

    async def metrics(self) -> str:
        running, waiting = self._batching.load if self._batching is not None else (0, 0)
        return "".join(
            f"# TYPE engineroom_transformers_{name} {kind}\nengineroom_transformers_{name} {value}\n"
            for name, kind, value in (
                ("running", "gauge", running),
                ("waiting", "gauge", waiting),
                ("tokens_total", "counter", self._generated),
            )
        )


def text_tokenizer(loaded: loading.Loaded) -> LLTokenizer:
    """Bytes and grammars over the model's vocabulary."""
    from llguidance.hf import from_tokenizer

    return from_tokenizer(loaded.tokenizer, eos_token=_ids(loaded.model.generation_config.eos_token_id) or None)


def _ids(value: int | Sequence[int] | None) -> tuple[int, ...]:
    return () if value is None else (value,) if isinstance(value, int) else tuple(value)


def _for_template(message: Mapping[str, Any], template: str) -> dict[str, Any]:
    """A message as templates expect it: tool calls' arguments as objects, `developer` as `system` where unknown."""
    said = dict(message)
    if said["role"] == "developer" and "developer" not in template:
        said["role"] = "system"
    if calls := said.get("tool_calls"):
        said["tool_calls"] = [
            {**call, "function": {**call["function"], "arguments": json.loads(call["function"]["arguments"])}}
            for call in calls
        ]
    return said


async def _in_thread(work: Any) -> None:
    """Like `asyncio.to_thread`, but a start that is cancelled does not keep the process from ending."""
    import threading

    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def run() -> None:
        try:
            work()
        except BaseException as error:
            _tell(loop, done, error)
        else:
            _tell(loop, done, None)

    threading.Thread(target=run, name="transformers-load", daemon=True).start()
    await done


def _tell(loop: asyncio.AbstractEventLoop, done: asyncio.Future[None], error: BaseException | None) -> None:
    def settle() -> None:
        if not done.done():
            done.set_exception(error) if error is not None else done.set_result(None)

    if not loop.is_closed():
        loop.call_soon_threadsafe(settle)
