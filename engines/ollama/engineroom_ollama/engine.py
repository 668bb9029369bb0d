"""Ollama: `ollama serve` as our child, its runners with it, and one model that is pulled and loaded before we serve."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engineroom.engine import MODELS, Capabilities, Requirement, Route
from engineroom.errors import APIError, EngineStartError, Problems
from engineroom.models import FORMAT_NAMES, adapter_base, formats_at, is_path
from engineroom.openai.routes import CHAT_COMPLETIONS, COMPLETIONS, EMBEDDINGS
from engineroom.openai.upstream_errors import field_about, from_upstream
from engineroom.pool_load import PoolFacts
from engineroom.process import LogFormat
from engineroom.server import Address, Cause, Diagnostics, ServerEngine, Situation
from engineroom.settings import Environment, SettingsGroup, WorkerSettings, version_numbers

from . import requests
from .models import ModelStore
from .settings import OTHER_NAMES, USUAL_SETTINGS, VARIABLES, OllamaSettings

if TYPE_CHECKING:
    from engineroom.server import Proxy, Upstream

_OLDEST = "0.12.11"
"""The first with logprobs; `truncate` and `shift`, which every request has, are as old as 0.12.4."""

_CAUSES = (
    Cause(
        r"requires more system memory|(?:cudaMalloc|alloc\w*) failed|out of memory",
        "memory is too small for MODEL_NAME={MODEL_NAME}: lower OLLAMA_CONTEXT_LENGTH or OLLAMA_NUM_PARALLEL, or take "
        "a smaller model",
        {"OLLAMA_NUM_PARALLEL": "1", "OLLAMA_CONTEXT_LENGTH": "4096"},
    ),
    Cause(
        r"llama-server binary not found",
        "Ollama's folder `lib/ollama` is missing, in which its runners are: install it whole (docs/ollama.md)",
    ),
)
_LINE = r"time=\S+ level=(?P<level>\w+)\S* source=(?P<source>\S+) (?:msg=)?"
_FIELDS = (
    ("does not support thinking", "reasoning_effort"),
    ("does not support insert", "suffix"),
    ("grammar", "response_format"),
    ("JSON schema", "response_format"),
)


class OllamaEngine(ServerEngine):
    """Ollama 0.12.11 and newer."""

    name = "ollama"
    summary = "Ollama: models of its library by their names, and GGUF"
    preference = 60
    ready_path = "/api/version"
    access_log = '"{path}"'  # Gin's
    metrics_path = None
    generating_processes = r"llama-server|ollama runner"
    remedy = (
        "install it (https://ollama.com/download), or set OLLAMA_COMMAND to the path of its binary (docs/ollama.md)"
    )
    capabilities = Capabilities(
        surfaces=frozenset({"chat", "completions", "embeddings"}),
        tools="optional",
        logprobs=True,
        several_choices=True,
        json_schema=True,
        images=True,
        audio=True,
    )
    sampling_params = requests.SAMPLING_PARAMS
    other_names = OTHER_NAMES
    usual_settings = USUAL_SETTINGS
    namespaces = ("OLLAMA_",)
    diagnostics = Diagnostics(LogFormat((_LINE,)), _CAUSES)

    def __init__(self, worker: WorkerSettings, own: OllamaSettings, variables: Mapping[str, str]) -> None:
        super().__init__(worker)
        self._own = own
        self._variables = variables
        self._model = worker.model_name or ""
        self._embeds = False
        self._port: int | None = None

    @classmethod
    def settings(cls, env: Environment) -> tuple[SettingsGroup, ...]:
        return OllamaSettings, VARIABLES

    @classmethod
    def configure(cls, worker: WorkerSettings, env: Environment) -> OllamaEngine:
        problems = Problems()
        own = OllamaSettings.load_valid(env, problems)
        variables: dict[str, str] = problems.collect(lambda: own.variables(env), {})
        wrong_model = _problem(worker.model_name or "")
        if wrong_model:
            problems.add("MODEL_NAME", wrong_model, env.source("MODEL_NAME"))
        problems.check()
        return cls(worker, own, variables)

    @classmethod
    def requirements(cls, env: Environment) -> tuple[Requirement, ...]:
        command = env.get("OLLAMA_COMMAND", "ollama")
        return (Requirement(f"Ollama as `{command}`", shutil.which(command) is not None, cls.remedy),)

    @classmethod
    def unset_values(cls, env: Environment) -> Mapping[str, Sequence[str]]:
        return {"OLLAMA_HOST": ("0.0.0.0:11434", "0.0.0.0")}  # Ollama's image sets it.

    @property
    def routes(self) -> frozenset[Route]:
        paths = (EMBEDDINGS,) if self._embeds else (CHAT_COMPLETIONS, COMPLETIONS)
        return MODELS | {Route("POST", path) for path in paths}

    def knows_model(self, name: str) -> bool:
        return super().knows_model(name) or name.removesuffix(":latest") in (
            model.removesuffix(":latest") for model in self.models
        )

    def command(self, address: Address) -> Sequence[str]:
        self._port = address.port
        return [self._own.ollama_command, "serve"]

    def environ(self) -> Mapping[str, str]:
        others = {name: value for name, value in os.environ.items() if not name.startswith("OLLAMA_")}
        listens = {"OLLAMA_HOST": f"127.0.0.1:{self._port}", "GIN_MODE": "release"}
        return {"HOME": str(self.directory), **others, **self._variables, **listens}

    def make_proxy(self) -> Proxy:
        from .answers import OllamaProxy

        return OllamaProxy(self, self.native)

    def prepare(self, path: str, json: dict[str, Any]) -> dict[str, Any]:
        return requests.prepare(path, json)

    def native(self, path: str, json: Mapping[str, Any]) -> dict[str, Any]:
        """A prepared request in Ollama's words. Its options of loading are those that the model was loaded with."""
        request = requests.native(path, json)
        return {**request, "model": self._model, "options": {**request.get("options", {}), **self._own.options}}

    def canary(self, path: str, json: dict[str, Any]) -> tuple[str, Mapping[str, Any]]:
        return requests.PATHS[path], {**self.native(path, json), "stream": False}

    def normalise_error(self, status: int, body: bytes) -> APIError:
        error = from_upstream(status, body)
        if error.message.startswith("{"):  # Its runner's own error, as it came.
            error = from_upstream(status, error.message.encode())
        error.param = error.param or field_about(error.message, _FIELDS)
        return error

    def pool_facts(self) -> PoolFacts:
        return super().pool_facts()._replace(places=int(self._variables["OLLAMA_NUM_PARALLEL"]))

    def situation(self) -> Situation:
        return Situation(self.variables())

    async def on_ready(self, upstream: Upstream) -> None:
        import aiohttp

        url = f"http://{upstream.origin.authority}"
        try:
            async with aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(total=None)) as session:
                await self._prepare_model(ModelStore(session, self.timeline))
        except (aiohttp.ClientError, OSError) as error:
            raise EngineStartError(f"ollama broke off while it prepared {self.files.name}: {error}") from error

    async def _prepare_model(self, store: ModelStore) -> None:
        version = await store.version()
        if (0, 0, 0) < version_numbers(version) < version_numbers(_OLDEST):
            raise EngineStartError(f"Ollama {version} is too old; {_OLDEST} or newer is needed (OLLAMA_COMMAND)")
        self._model = await store.obtain(self._model)
        self.timeline.mark("model in Ollama's store")
        shown = await store.show(self._model) or {}
        able = shown.get("capabilities", ())
        self._embeds = "completion" not in able and "embedding" in able
        least: dict[str, Any] = {"input": []} if self._embeds else {"shift": False}
        path = "/api/embed" if self._embeds else "/api/generate"
        error = await store.load(path, {**least, "model": self._model, "options": self._own.options})
        if error:
            log = [f"Error: {error}", *self.log()]
            raise EngineStartError(f"ollama cannot load the model: {self.explain_exit(1, log)}", safer=self.safer(log))
        self.capabilities = self.capabilities.narrow(images="vision" in able, audio="audio" in able)
        if "tools" not in able:
            reason = "This model's template has no place for tools, as Ollama says, so the model would never see them."
            self.capabilities = self.capabilities.narrow(reason, tools="none")


def _problem(model: str) -> str:
    """Why MODEL_NAME can be nothing that Ollama has or loads; empty where it can."""
    if not model:
        return "which model? Name one of Ollama's library, such as llama3.2:1b, or a GGUF file"
    if model.endswith(("-cloud", ":cloud")):
        return f"{model} runs on ollama.com's computers, not here; take a tag that is downloaded"
    if not is_path(model):
        return ""
    path = Path(model).expanduser()
    if not path.exists():
        return f"there is no file or folder {model}"
    if adapter_base(path) is not None:
        return f"{model} is a LoRA adapter, not a model"
    there = formats_at(path)
    if there & {"gguf", "safetensors"}:
        return ""
    has = " and ".join(sorted(FORMAT_NAMES[each] for each in there)) or "no"
    return f"{model} has {has} weights, and Ollama takes GGUF or safetensors"
