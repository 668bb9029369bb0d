"""The engine: OpenVINO GenAI's batching in a process of its own, as a source of tokens or of embeddings."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar

from engineroom.engine import Capabilities, Metric, Requirement, Route, exposition
from engineroom.errors import APIError, Problems
from engineroom.in_process import ModelProcess, Token, TokenEngine, TokenRequest, in_daemon_thread
from engineroom.installation import how_to_install
from engineroom.models import hub_environ, model_config, pooling, resolve
from engineroom.openai.routes import EMBEDDINGS
from engineroom.openai.serving import chat_template
from engineroom.openai.serving.response import check_ids
from engineroom.openai.serving.schema_grammar import schema_grammar
from engineroom.openai.validation import check
from engineroom.server import Situation, diagnose
from engineroom.settings import Environment, WorkerSettings, read_text
from engineroom.settings import usual_settings as usual

from . import models
from .diagnostics import DIAGNOSTICS
from .settings import OpenVINOSettings, SamplingParams
from .tokenizer import ModelTokenizer

if TYPE_CHECKING:
    from typing_extensions import Self

    from engineroom.settings import SettingsGroup, UsualSetting
    from engineroom.watchdog import Activity

_LIBRARIES = ("openvino_genai", "jinja2")
_CHILD = Path(__file__).with_name("child.py")
_GREEDY = 1e-5
"""Below this temperature nothing is drawn."""


class OpenVINOEngine(TokenEngine):
    """Models in GGUF or in OpenVINO's own format: continuously batched text, or an encoder's embeddings."""

    name = "openvino"
    summary = "OpenVINO GenAI: GGUF and OpenVINO models on CPUs and Intel's GPUs, continuously batched."
    model_formats = ("ir", "gguf")
    preference = 55
    usual_settings: ClassVar[Mapping[UsualSetting, str]] = {
        usual.CONTEXT_LENGTH: "MAX_MODEL_LEN",
        usual.PARALLEL_REQUESTS: "MAX_NUM_SEQS",
        usual.BATCH_TOKENS: "MAX_NUM_BATCHED_TOKENS",
        usual.MODEL_REVISION: "MODEL_REVISION",
        usual.CHAT_TEMPLATE: "CHAT_TEMPLATE",
        usual.THREADS: "INFERENCE_NUM_THREADS",
    }
    sampling_params = chat_template.FIELDS | {*SamplingParams.__struct_fields__}
    capabilities = Capabilities(
        surfaces=frozenset({"chat", "completions", "embeddings"}),
        tools="forced",
        several_choices=True,
        json_schema=True,
        reasons={"logprobs": "OpenVINO GenAI has no alternatives to a token to tell of; leave logprobs out."},
    )

    def __init__(self, worker: WorkerSettings, settings: OpenVINOSettings, model: str) -> None:
        super().__init__(worker, resolve(model).name.removesuffix(".gguf"))
        self._worker = worker
        self._settings = settings
        self._model = model
        self._process: ModelProcess | None = None
        self._watch: asyncio.Task[None] | None = None
        self._pooling: str | None = None
        self._generated = 0
        self._block = 32 if settings.device.upper() == "CPU" else 16
        self._cache_blocks = -(-settings.kv_cache_tokens // self._block)

    @classmethod
    def settings(cls, env: Environment) -> tuple[SettingsGroup, ...]:
        return (OpenVINOSettings,)

    @classmethod
    def configure(cls, worker: WorkerSettings, env: Environment) -> Self:
        settings = OpenVINOSettings.load(env)
        problems = Problems()
        if settings.device.upper() == "NPU":
            problems.add("DEVICE", "OpenVINO batches requests on CPUs and GPUs; on an NPU it serves one at a time")
        if settings.chat_template:
            template = Path(settings.chat_template)
            problems.collect(lambda: read_text(template, "CHAT_TEMPLATE"), "")
        problems.check()
        return cls(worker, settings, worker.required_model())

    @classmethod
    def requirements(cls, env: Environment) -> tuple[Requirement, ...]:
        missing = [name for name in _LIBRARIES if find_spec(name) is None]
        remedy = f"{how_to_install('engineroom-openvino[engine]')} (missing: {', '.join(missing)})"
        return (Requirement(", ".join(_LIBRARIES), not missing, remedy),)

    @property
    def routes(self) -> frozenset[Route]:
        if self._process is None:
            return super().routes
        embeds = self._pooling is not None
        return frozenset(each for each in super().routes if each.method == "GET" or (each.path == EMBEDDINGS) is embeds)

    async def load(self) -> None:
        settings = self._settings
        environ = hub_environ(os.environ, settings.base_path, settings.hf_token)
        where = await settings.obtain(self._model, settings.model_revision, environ, self.timeline, self.model_formats)
        where = models.file_in(where)
        self._pooling = pooling(where, model_config(where).get("architectures") or ())
        command = [sys.executable, str(_CHILD), json.dumps(self._job(where))]
        process = self._process = await ModelProcess.start(
            command,
            name=self.name,
            grace=self._worker.stop_timeout,
            log=self._worker.engine_logs,
            explain=self._explain,
        )
        self.timeline.mark("model loaded")
        template = read_text(Path(settings.chat_template), "CHAT_TEMPLATE") if settings.chat_template else None
        tokenizer = self._tokenizer = await in_daemon_thread(lambda: ModelTokenizer(str(where), template))
        self.vocabulary_size = tokenizer.size
        limits = [
            settings.max_model_len,
            models.context(where),
            self._cache_blocks * self._block if self._pooling is None else None,
        ]
        self.max_model_len = tokenizer.longest(min(limit for limit in (*limits, 2**17) if limit))
        if self._pooling is not None:
            self.capabilities = Capabilities(surfaces=frozenset({"embeddings"}))
        elif "tools" not in tokenizer.template:
            reason = "This model's chat template has no place for tools, so the model would never see them. "
            reason += "Set CHAT_TEMPLATE to a template that has one."
            self.capabilities = self.capabilities.narrow(reason, tools="none")
        self._watch = asyncio.ensure_future(self._end_with(process))

    def _job(self, where: Path) -> dict[str, Any]:
        """What the child is told, see there."""
        settings = self._settings
        return {
            "model": str(where),
            "pooling": self._pooling,
            "device": settings.device.upper(),
            "properties": settings.properties,
            "scheduler": {
                "num_kv_blocks": self._cache_blocks,
                "max_num_seqs": settings.max_num_seqs,
                "max_num_batched_tokens": settings.max_num_batched_tokens,
                "enable_prefix_caching": settings.enable_prefix_caching,
            },
        }

    def _explain(self, lines: Sequence[str], code: int) -> str | None:
        if code == -signal.SIGSEGV and self._watch is None:
            return f"MODEL_NAME={self._model} is damaged or cut short: download it again"
        (library,) = self.requirements(Environment.of({}))
        if not library.met:
            return f"OpenVINO GenAI is not installed: {library.remedy}"
        values = {name.upper(): str(value) for name, value in self._settings if value is not None}
        return diagnose(lines, DIAGNOSTICS, Situation({"MODEL_NAME": self._model, **values}))

    async def _end_with(self, process: ModelProcess) -> None:
        self.die(f"OpenVINO cannot go on: {await process.died()}")

    async def unload(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        if self._process is not None:
            await self._process.stop()

    def activity(self) -> Activity | None:
        return self._process.activity() if self._process is not None else None

    def steps(self) -> int | None:
        return None if self._process is None else self._process.steps

    def memory_held(self) -> int | None:
        return None if self._process is None else self._process.memory()

    def tokenize(self, text: str) -> list[int]:
        return self._tokenizer.tokenize(text)

    def chat_prompt(self, messages: Sequence[Mapping[str, Any]], params: Mapping[str, Any]) -> list[int]:
        return self._tokenizer.chat(messages, params)

    async def generate_tokens(self, request: TokenRequest) -> AsyncGenerator[Token, None]:
        assert self._process is not None
        config = sampling(request, self._process.status["eos"], self.vocabulary_size)
        grammar = None
        if request.schema is not None:
            grammar = await asyncio.to_thread(schema_grammar, request.schema)
        asked = {"prompt": request.prompt, "config": config, "grammar": grammar}
        async with aclosing(self._process.ask(asked)) as tokens:
            async for token in tokens:
                self._generated += 1
                if token in config["stop_token_ids"]:
                    yield Token(id=token, finish_reason="stop")
                    return
                yield Token(self._tokenizer.text(token), token)
        yield Token(finish_reason="length")

    async def embed(self, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
        assert self._process is not None
        async with aclosing(self._process.ask({"prompts": prompts})) as vectors:
            return [vector async for vector in vectors]

    async def metrics(self) -> str:
        here = self._process.status.get("running", 0) if self._process is not None else 0
        running = min(here, self._settings.max_num_seqs)
        return exposition(
            [
                Metric("engineroom_openvino_running", "gauge", "Requests in the batch.", {"": running}),
                Metric("engineroom_openvino_waiting", "gauge", "Requests before the batch.", {"": here - running}),
                Metric("engineroom_openvino_tokens_total", "counter", "Tokens generated.", {"": self._generated}),
            ]
        )


def sampling(request: TokenRequest, eos: Sequence[int], vocabulary_size: int) -> dict[str, Any]:
    """The attributes of a request's `GenerationConfig`.

    Raises:
        APIError: for a parameter that is unknown, or wrong.
    """
    if not request.prompt:
        raise APIError("The prompt is empty.", param="prompt", code="invalid_value")
    params = check(request.params, SamplingParams)
    check_ids(params.stop_token_ids, vocabulary_size, "stop_token_ids")
    free = request.schema is None
    ends = [*(() if params.ignore_eos and free else eos), *params.stop_token_ids]
    config: dict[str, Any] = {
        "max_new_tokens": request.max_tokens,
        "min_new_tokens": min(params.min_tokens, request.max_tokens) if free else 0,
        "eos_token_id": ends[0] if ends else -1,
        "stop_token_ids": ends,
        "ignore_eos": not ends,
        "repetition_penalty": params.repetition_penalty,
        "presence_penalty": params.presence_penalty,
        "frequency_penalty": params.frequency_penalty,
    }
    if request.temperature < _GREEDY:
        return config
    seed = secrets.randbits(32) if request.seed is None else request.seed
    return config | {
        "do_sample": True,
        "temperature": request.temperature,
        "top_p": max(request.top_p, _GREEDY),
        # OpenVINO takes no `min_p` of 1, which leaves the likeliest token alone.
        "top_k": 1 if params.min_p == 1 else min(max(params.top_k, 0), vocabulary_size),
        "min_p": params.min_p % 1,
        "rng_seed": Random(f"{seed}/{request.choice}").getrandbits(32),
    }
