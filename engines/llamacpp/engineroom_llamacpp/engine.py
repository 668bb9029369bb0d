"""llama.cpp's own server as an engine: out of the xllamacpp library in a child process, or a `llama-server` binary."""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from engineroom.adapters import BUCKET_VARIABLES, AdapterDownloads, AdapterSettings, AdapterSources
from engineroom.engine import MODELS, Capabilities, Requirement, Route
from engineroom.errors import APIError, EngineStartError, Problems
from engineroom.installation import how_to_install
from engineroom.models import ModelChoiceError, cache_folders, download
from engineroom.openai import routes
from engineroom.pool_load import AdapterOccupancy, PoolFacts
from engineroom.server import Address, ServerEngine
from engineroom.settings import WorkerSettings

from . import adapters, errors, flags, other_names, requests
from .diagnostics import DIAGNOSTICS
from .memory import MEMORY
from .metric_names import METRIC_NAMES
from .models import DEFAULT, Model, ModelError, cached_files, find, packaged, pick
from .settings import LlamaCppSettings

if TYPE_CHECKING:
    from engineroom.server import Proxy, Upstream
    from engineroom.settings import Environment, OtherName, SettingsGroup

logger = logging.getLogger(__name__)

_CHILD = Path(__file__).with_name("child.py")
_ALWAYS = (
    *MODELS,
    ("POST", routes.CHAT_COMPLETIONS),
    ("POST", routes.COMPLETIONS),
    ("POST", "/tokenize"),
    ("POST", "/detokenize"),
    ("POST", "/apply-template"),
    ("POST", "/infill"),
    ("GET", "/props"),
    ("GET", "/slots"),
    ("GET", "/lora-adapters"),
)
_OWN_SLOTS = 4
"""What llama.cpp makes of PARALLEL=-1 at least."""
_EMBEDDING = (("POST", routes.EMBEDDINGS),)
_RERANKING = (("POST", routes.RERANK),)


class LlamaCppEngine(ServerEngine):
    """GGUF models on CPUs and GPUs."""

    name = "llamacpp"
    summary = "llama.cpp: GGUF models on CPUs and GPUs."
    metric_names = METRIC_NAMES
    model_formats = ("gguf",)
    preference = 40
    adapter_setting = "LORA"
    memory = MEMORY
    usual_settings = other_names.USUAL_SETTINGS
    namespaces = (other_names.NAMESPACE,)
    other_names: ClassVar[Mapping[str, OtherName]] = other_names.names()
    defaults: ClassVar[Mapping[str, str]] = {"MODEL_NAME": DEFAULT, **requests.LIMITS}
    sampling_params = requests.SAMPLING_PARAMS | requests.TRANSLATED
    capabilities = Capabilities(
        surfaces=frozenset({"chat", "completions", "embeddings", "rerank"}),
        tools="forced",
        logprobs=True,
        several_choices=True,
        json_schema=True,
        images=True,
        audio=True,
    )
    diagnostics = DIAGNOSTICS
    progress_metrics = ("llamacpp:n_decode_total", "llamacpp:tokens_predicted_total")
    remedy = "LLAMA_SERVER and LLAMACPP_PYTHON must name programs that are there; leave them out for those of PATH"
    transport = "unix"
    keep_alive = 4  # Its server closes an idle one after 5 s.
    secrets = ("LLAMA_API_KEY",)  # Ours to it; the worker downloads its models.

    def __init__(
        self,
        worker: WorkerSettings,
        model: Model,
        values: Mapping[str, Any],
        command: Sequence[str],
        hub_environ: Mapping[str, str],
        adapter_settings: AdapterSettings,
        sources: AdapterSources,
    ) -> None:
        self._model = model
        self._values = values
        self._command = command
        self._hub_environ = hub_environ
        self._adapter_settings = adapter_settings
        self._sources = sources
        self._adapter_files: Mapping[str, Path] = {}
        self._adapters = adapters.LoadedAdapters()
        self._places: int | None = None
        self._key = secrets.token_hex(16)
        slots = values.get("parallel", -1)
        # Its server gives a connection a thread for as long as it is open, and may have no more than two beside those
        # of its slots: one that is kept must not keep a request waiting.
        self.keep_limit = 2 + (slots if slots > 0 else _OWN_SLOTS)
        self._routes = frozenset(Route(*route) for route in self._possible())
        super().__init__(worker)

    @classmethod
    def settings(cls, env: Environment) -> tuple[SettingsGroup, ...]:
        return (LlamaCppSettings, AdapterSettings, flags.snapshot())

    @classmethod
    def configure(cls, worker: WorkerSettings, env: Environment) -> LlamaCppEngine:
        problems = Problems()
        own = LlamaCppSettings.load_valid(env, problems)
        binary = _binary(own)
        if own.llama_server and not shutil.which(own.llama_server):
            problems.add("LLAMA_SERVER", f"there is no program {own.llama_server}", env.source("LLAMA_SERVER"))
        values = flags.read(env, problems, library=binary is None)
        model = Model("")
        hub_environ = own.environ(env, BUCKET_VARIABLES)
        adapter_settings = AdapterSettings.load_valid(env, problems)
        adapters.check(adapter_settings, env, problems)
        values = adapters.without_shared_prompts(adapter_settings, values, env, problems)
        try:
            model = find(worker.model_name or DEFAULT, hub_environ, own.base_path, own.model_revision)
        except ModelError as error:
            problems.add("MODEL_NAME", str(error), env.source("MODEL_NAME"))
        problems.check()
        command = [binary] if binary else [own.llamacpp_python or sys.executable, str(_CHILD)]
        sources = AdapterSources(adapter_settings, "gguf", AdapterDownloads("gguf", own, hub_environ).fetch)
        return cls(worker, model, values, command, hub_environ, adapter_settings, sources)

    @classmethod
    def requirements(cls, env: Environment) -> tuple[Requirement, ...]:
        from importlib.util import find_spec

        own = LlamaCppSettings.load(env)
        if binary := _binary(own):
            runs = Requirement(f"llama-server ({binary})", True)
        else:
            there = own.llamacpp_python is not None or find_spec("xllamacpp") is not None
            remedy = f"{how_to_install('engineroom-llamacpp[engine]')}, or set LLAMA_SERVER to a llama-server"
            runs = Requirement("the xllamacpp library", there, remedy)
        try:
            files = find(env.get("MODEL_NAME", DEFAULT))
            model = Requirement(f"the model {files.name}", True)
        except ModelError as error:
            model = Requirement("a model", False, str(error))
        return (runs, model)

    @classmethod
    def own_models(cls, env: Environment) -> Mapping[str, Path]:
        models = {str(file): file for file in cached_files(os.environ)}
        with suppress(ModelError):
            models[DEFAULT] = packaged()
        return models

    @property
    def models(self) -> tuple[str, ...]:
        return self.worker.served_model_name or (self._model.name,)

    def knows_model(self, name: str) -> bool:
        return super().knows_model(name) or name in self._adapters.ids

    async def adapters(self) -> tuple[str, ...]:
        return tuple(self._adapters.ids)

    @property
    def routes(self) -> frozenset[Route]:
        return self._routes

    def _possible(self) -> Sequence[tuple[str, str]]:
        """What the settings make it serve; embeddings and chat go together only where the model's pooling is named."""
        embeds = self._values.get("embeddings") or self._values.get("pooling") not in (None, "none", "rank")
        ranks = self._values.get("reranking") or self._values.get("pooling") == "rank"
        return (*_ALWAYS, *(_EMBEDDING if embeds else ()), *(_RERANKING if ranks else ()))

    async def before_start(self) -> None:
        if self._model.path is None:
            self._model = await self._obtain(self._model)
        if self._model.projector and not self._values.keys() & {"mmproj", "mmproj_auto"}:
            logger.info("images: %s comes with its projector %s", self._model.name, self._model.projector.name)
            self._values = {**self._values, "mmproj": str(self._model.projector)}
        if self._adapter_settings.in_use:
            self._adapter_files = await adapters.find(self._adapter_settings, self._sources)
            scaled = adapters.as_flag(self._adapter_files, self._values.get("lora_scaled"))
            self._values = {**self._values, "lora_scaled": scaled}

    async def _obtain(self, model: Model) -> Model:
        """Download what `find` did not find on this machine."""
        options: dict[str, Any] = {
            "revision": model.revision,
            "wanted": model.wanted,
            "formats": self.model_formats,
            "cache": str(cache_folders(self._hub_environ)[0]),
        }
        folder = (await download(model.repository, self._hub_environ, self.timeline, **options)).folder
        try:
            path, projector = pick(folder, model.repository, model.wanted)
        except (ModelError, ModelChoiceError) as error:
            raise EngineStartError(str(error)) from error
        logger.info("%s of %s is in %s", path.name, model.repository, folder)
        return replace(model, path=path, projector=projector)

    def command(self, address: Address) -> Sequence[str]:
        assert address.unix is not None
        assert self._model.path is not None
        if len(self._command) == 1:
            names = ",".join(self.models)
            own = ["--model", str(self._model.path), "--host", address.unix, "--alias", names, "--metrics", "--no-ui"]
            return [*self._command, *own, *flags.argv(self._values)]
        job = {"model": str(self._model.path), "listen": address.unix, "names": self.models, "flags": self._values}
        return [*self._command, json.dumps(job)]

    def environ(self) -> Mapping[str, str]:
        # Its own variables are settings of ours, and have been read; left there, they would count twice.
        passed = {name: value for name, value in os.environ.items() if not name.startswith("LLAMA_ARG_")}
        # Where it ends itself it would start a debugger, whose output buries the reason.
        return {"GGML_NO_BACKTRACE": "1", **passed, "LLAMA_API_KEY": self._key}

    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self._key}"}

    async def on_ready(self, upstream: Upstream) -> None:
        try:
            props = json.loads(await upstream.description("/props"))
        except ValueError:
            raise EngineStartError("llama.cpp does not answer /props; its version is not known here") from None
        if not props.get("chat_template_caps", {}).get("supports_tools"):
            reason = "This model's chat template has no place for tools, so the model would never see them. "
            reason += "Set CHAT_TEMPLATE_FILE to a template that has one."
            self.capabilities = self.capabilities.narrow(reason, tools="none")
        self._places = props.get("total_slots")
        inputs = props.get("modalities", {})
        for kind, name, capability in (("image", "vision", "images"), ("audio", "audio", "audio")):
            if not inputs.get(name):
                reason = f"This model does not accept {kind} input. For a model that does, set MMPROJ to its projector."
                self.capabilities = self.capabilities.narrow(reason, **{capability: False})

        if self._adapter_files or self._values.get("lora") or self._values.get("lora_scaled"):
            await self._find_loaded(upstream)

    async def _find_loaded(self, upstream: Upstream) -> None:
        """Raises EngineStartError where llama.cpp does not say which adapters it has."""
        try:
            listed = json.loads(await upstream.description("/lora-adapters"))
            # A name of the model's own is the model's.
            files = {name: file for name, file in self._adapter_files.items() if name not in self.models}
            self._adapters = adapters.LoadedAdapters.of(listed, files)
        except (ValueError, TypeError, KeyError):
            raise EngineStartError("llama.cpp does not list its adapters; its version is not known here") from None
        if files:
            logger.info("adapters that clients may ask for by name: %s", ", ".join(self._adapters.ids))

    def pool_facts(self) -> PoolFacts:
        names = tuple(self._adapters.ids)
        occupancy = AdapterOccupancy(len(names), names) if names else None
        return super().pool_facts()._replace(places=self._places, adapters=occupancy)

    async def stop(self) -> None:
        await self._sources.close()
        await super().stop()

    def make_proxy(self) -> Proxy:
        from .proxy import LlamaCppProxy

        return LlamaCppProxy(self, self._adapter_files.keys() - {*self.models})

    def prepare(self, path: str, json: dict[str, Any]) -> dict[str, Any] | None:
        return requests.prepare(path, self._adapters.choose(path, json), self.worker.max_ways)

    def normalise_error(self, status: int, body: bytes) -> APIError:
        return errors.normalise(status, body)

    def variables(self) -> Mapping[str, str]:
        flags_in_force = {name.upper(): str(value) for name, value in self._values.items()}
        return {**super().variables(), **flags_in_force}

    def explain_exit(self, returncode: int, log: Sequence[str]) -> str | None:
        return errors.explain_signal(returncode, log) or super().explain_exit(returncode, log)


def _binary(own: LlamaCppSettings) -> str | None:
    """The `llama-server` to run, None for the library."""
    if own.llama_server:
        return shutil.which(own.llama_server) or own.llama_server
    return None if own.llamacpp_python else shutil.which("llama-server")
