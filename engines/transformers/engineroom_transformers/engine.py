"""The engine: transformers in this process, as a source of tokens or of embeddings."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from engineroom.engine import Capabilities, Measure, Metric, Requirement, Route, exposition
from engineroom.errors import APIError, EngineStartError, Problems
from engineroom.in_process import Token, TokenEngine, TokenRequest, in_daemon_thread
from engineroom.installation import how_to_install
from engineroom.models import hub_environ, resolve
from engineroom.openai.routes import EMBEDDINGS
from engineroom.openai.serving import chat_template
from engineroom.pool_load import PoolFacts
from engineroom.settings import WorkerSettings, read_text
from engineroom.settings import usual_settings as usual

from . import embedding, loading
from .batching import ContinuousBatch
from .memory import MEMORY
from .ranks import Ranks
from .sampling import Sampling
from .settings import Params, TransformersSettings
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    from typing_extensions import Self

    from engineroom.settings import Environment, SettingsGroup, UsualSetting

_LIBRARIES = ("torch", "transformers", "accelerate", "llguidance")
_SAME_REASON_S = 5.0
"""How long a rank that is lost while it loads is taken for a sign that this process is about to say why."""
_RANK_TOLD_S = 1.0
"""How long it takes at most until a rank that ended is known to have ended."""
_REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?(:.+)?")


class TransformersEngine(TokenEngine):
    """Any model that transformers can load: continuously batched text, or an encoder's embeddings."""

    name = "transformers"
    summary = "Hugging Face transformers in this process: any model, continuous batching, CPU or GPU."
    model_formats = ("safetensors", "pytorch", "gguf")
    preference = 60
    memory = MEMORY
    # Its tokeniser takes up to 16 s for a million characters, and 128 choices on one core had a neighbour wait for nine
    # seconds (`make bench-limits`).
    defaults: ClassVar[Mapping[str, str]] = {"MAX_CHOICES": "16", "MAX_PROMPT_CHARACTERS": "1000000"}
    usual_settings: ClassVar[Mapping[UsualSetting, str]] = {
        usual.CONTEXT_LENGTH: "MAX_MODEL_LEN",
        usual.PARALLEL_REQUESTS: "MAX_NUM_SEQS",
        usual.BATCH_TOKENS: "MAX_NUM_BATCHED_TOKENS",
        usual.GPU_MEMORY: "GPU_MEMORY_UTILIZATION",
        usual.TENSOR_PARALLEL: "TENSOR_PARALLEL_SIZE",
        usual.QUANTISATION: "QUANTIZATION",
        usual.MODEL_REVISION: "MODEL_REVISION",
        usual.DTYPE: "DTYPE",
        usual.CHAT_TEMPLATE: "CHAT_TEMPLATE",
        usual.REMOTE_CODE: "TRUST_REMOTE_CODE",
    }
    metric_names: ClassVar[Mapping[Measure, Sequence[str]]] = {
        "requests_running": ("engineroom_transformers_running",),
        "requests_waiting": ("engineroom_transformers_waiting",),
        "completion_tokens": ("engineroom_transformers_tokens_total",),
        "cache_usage": ("engineroom_transformers_cache_usage",),
    }
    sampling_params = chat_template.FIELDS | {*Params.__struct_fields__}
    capabilities = Capabilities(
        surfaces=frozenset({"chat", "completions", "embeddings"}),
        tools="forced",
        logprobs=True,
        several_choices=True,
        json_schema=True,
    )

    def __init__(self, worker: WorkerSettings, settings: TransformersSettings, model: str) -> None:
        super().__init__(worker, resolve(model).name.removesuffix(".gguf"))
        self._settings = settings
        self._model = model
        self._loaded: loading.LoadedModel | None = None
        self._batch: ContinuousBatch | None = None
        self._ranks = Ranks(settings)
        self._embedding = asyncio.Lock()
        self._abandoned = False
        self._generated = 0

    @classmethod
    def settings(cls, env: Environment) -> tuple[SettingsGroup, ...]:
        return (TransformersSettings,)

    @classmethod
    def configure(cls, worker: WorkerSettings, env: Environment) -> Self:
        settings = TransformersSettings.load(env)
        problems = Problems()
        model = worker.model_name or ""
        if not (model and Path(model).exists()) and not _REPOSITORY.fullmatch(model):
            what = f"there is no file or folder {model}" if model else "which model?"
            problems.add("MODEL_NAME", f"{what}; name a repository `org/name`, a folder or a GGUF file")
        template = settings.chat_template
        if template:
            problems.collect(lambda: read_text(Path(template), "CHAT_TEMPLATE"), "")
        problems.check()
        return cls(worker, settings, model)

    @classmethod
    def requirements(cls, env: Environment) -> tuple[Requirement, ...]:
        missing = [name for name in _LIBRARIES if find_spec(name) is None]
        remedy = f"{how_to_install('engineroom-transformers[engine]')} (missing: {', '.join(missing)})"
        return (Requirement(", ".join(_LIBRARIES), not missing, remedy),)

    @property
    def routes(self) -> frozenset[Route]:
        if self._loaded is None:
            return super().routes
        embeds = self._loaded.pooling is not None
        return frozenset(
            route for route in super().routes if route.method == "GET" or (route.path == EMBEDDINGS) is embeds
        )

    async def load(self) -> None:
        self._ranks.check(os.environ)
        environ = hub_environ(os.environ, self._settings.base_path, self._settings.hf_token)
        where = await self._settings.obtain(
            self._model, self._settings.model_revision, environ, self.timeline, self.model_formats
        )
        try:
            await self._load_with_ranks(where)
        except asyncio.CancelledError:
            self._abandoned = True
            raise
        except EngineStartError:
            raise
        except Exception as error:
            raise EngineStartError(loading.explain(error, self._model, self._settings)) from error
        if self._batch is not None:
            self._batch.watch(self._batch_ended)

    def _batch_ended(self, reason: str) -> None:
        """Die, of what ended the batch; with several ranks a moment later, in which the loss of one is told.

        The batch sees that loss too, as a connection that broke, and may see it first.
        """
        if self._settings.tensor_parallel_size == 1:
            self.die(reason)
        else:
            asyncio.get_running_loop().call_later(_RANK_TOLD_S, self._die_unless_dead, reason)

    def _die_unless_dead(self, reason: str) -> None:
        if self.health().live:
            self.die(reason)

    async def _load_with_ranks(self, where: Path) -> None:
        """Load, in a thread; where a rank is lost meanwhile, this one would wait for it."""
        loop = asyncio.get_running_loop()
        lost: asyncio.Future[str] = loop.create_future()

        def note_loss(reason: str) -> None:
            loop.call_soon_threadsafe(lost.set_result, reason)

        work = asyncio.ensure_future(in_daemon_thread(lambda: self._load(where, note_loss)))
        try:
            either: set[asyncio.Future[Any]] = {work, lost}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if lost.done():
                # What has ended the other may end this one, too, and is the better reason then.
                await asyncio.wait({work}, timeout=_SAME_REASON_S)
            if not work.done():
                self._abandoned = True
                raise EngineStartError(lost.result())
            await work
        finally:
            work.cancel()
        lost.add_done_callback(lambda loss: self.die(loss.result()))

    def _load(self, where: Path, rank_lost: Callable[[str], None]) -> None:
        if self._settings.tensor_parallel_size > 1:
            self._ranks.start(where, rank_lost)
        loaded = loading.load(where, self._settings)
        self.timeline.mark("model loaded")
        self._vocabulary = Vocabulary(loaded)
        self.vocabulary_size = self._vocabulary.size
        config = loaded.model.config.get_text_config()
        limits = [self._settings.max_model_len, getattr(config, "max_position_embeddings", None)]
        if loaded.pooling is not None:
            self.capabilities = Capabilities(surfaces=frozenset({"embeddings"}))
            limits.append(loaded.tokenizer.model_max_length)  # Some keep places of the table to themselves.
        elif not self._abandoned:
            self._batch = ContinuousBatch(loaded.model, self._vocabulary, self._settings)
            limits.append(self._batch.capacity)
            if self._abandoned:
                self._batch.stop()
        self.max_model_len = min(limit for limit in (*limits, 2**31) if limit)
        if "tools" not in str(loaded.tokenizer.chat_template or ""):
            reason = "This model's chat template has no place for tools, so the model would never see them. "
            reason += "Set CHAT_TEMPLATE to a template that has one."
            self.capabilities = self.capabilities.narrow(reason, tools="none")
        self._loaded = loaded

    async def unload(self) -> None:
        self._ranks.release()
        if self._batch is not None:
            await asyncio.to_thread(self._batch.stop, self.hung)
        await asyncio.to_thread(self._ranks.stop)
        was_loaded = self._loaded is not None
        self._batch = self._loaded = None
        if was_loaded:
            await asyncio.to_thread(loading.give_memory_back)

    def working_threads(self) -> Sequence[threading.Thread]:
        return (self._batch.thread,) if self._batch is not None else ()

    def steps(self) -> int | None:
        return None if self._batch is None else self._batch.steps

    def tokenize(self, text: str) -> list[int]:
        return self._vocabulary.tokenize(text)

    def chat_prompt(self, messages: Sequence[Mapping[str, Any]], params: Mapping[str, Any]) -> list[int]:
        return self._vocabulary.chat(messages, params)

    async def generate_tokens(self, request: TokenRequest) -> AsyncGenerator[Token, None]:
        vocabulary = self._vocabulary
        batch = self._batch
        assert batch is not None
        if request.schema is None:
            sampling = Sampling.of(request, vocabulary)
        else:
            sampling = await asyncio.to_thread(Sampling.of, request, vocabulary)
        async with aclosing(batch.generate(request.prompt, request.max_tokens, sampling)) as tokens:
            async for number, token in tokens:
                self._generated += 1
                if sampling.failed:
                    why = f"This JSON schema cannot be followed any further: {sampling.failed}"
                    raise APIError(why, code="unsupported_schema")
                if token in sampling.eos:
                    yield Token(id=token, finish_reason="stop")
                    return
                own, top = sampling.logprob_rows[number] if sampling.logprob_rows else (None, ())
                yield Token(vocabulary.text(token), token, own, [(vocabulary.shown(t), p) for t, p in top])
        yield Token(finish_reason="length")

    async def embed(self, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
        assert self._loaded is not None
        async with self._embedding:
            loaded = self._loaded
            return await in_daemon_thread(lambda: embedding.embed(loaded, prompts))

    def pool_facts(self) -> PoolFacts:
        return super().pool_facts()._replace(cache_blocks=self._batch.cache_blocks if self._batch is not None else None)

    async def metrics(self) -> str:
        running, waiting = self._batch.load if self._batch is not None else (0, 0)
        usage = self._batch.cache_usage if self._batch is not None else 0.0
        return exposition(
            [
                Metric("engineroom_transformers_cache_usage", "gauge", "Share of the cache in use.", {"": usage}),
                Metric("engineroom_transformers_running", "gauge", "Requests in the batch.", {"": running}),
                Metric("engineroom_transformers_waiting", "gauge", "Requests before the batch.", {"": waiting}),
                Metric("engineroom_transformers_tokens_total", "counter", "Tokens generated.", {"": self._generated}),
            ]
        )
