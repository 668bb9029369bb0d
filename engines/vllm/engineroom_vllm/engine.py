"""vLLM: `vllm serve` beside us, on a Unix socket, in its own Python."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from engineroom.engine import Capabilities, Requirement, Route
from engineroom.errors import APIError, EngineStartError, Problem, SettingsError
from engineroom.models import ModelFiles, cache_folders, resolve, weights
from engineroom.process import Process
from engineroom.server import Address, ReadAhead, ServerEngine
from engineroom.settings import WorkerSettings

from . import failures, install, snapshots, surface
from .options import Options, read
from .settings import SpeculativeSettings, VLLMSettings
from .worker_vllm import ALIASES, INVERTED, DroppedSettings

if TYPE_CHECKING:
    from typing_extensions import Self

    from engineroom.server import Proxy, Upstream
    from engineroom.settings import Environment, SettingsGroup

logger = logging.getLogger(__name__)

_LOAD_LORA = Route("POST", "/v1/load_lora_adapter")


class VLLMEngine(ServerEngine):
    """vLLM's OpenAI server. Its flags are settings, known from a snapshot of its own parser."""

    name = "vllm"
    summary = "vLLM: high throughput on GPUs, many models, LoRA, tools, structured output"
    transport = "unix"
    aliases = {**ALIASES, **{name: name for name in INVERTED}}
    sampling_params = surface.SAMPLING_PARAMS
    # Its own server knows what the model takes, and refuses the rest: tools without a parser, images, sound, video.
    capabilities = Capabilities(
        surfaces=frozenset({"chat", "completions", "responses", "messages", "embeddings", "rerank"}),
        tools="forced",
        logprobs=True,
        several_choices=True,
        json_schema=True,
        images=True,
        audio=True,
        video=True,
    )

    def __init__(
        self,
        worker: WorkerSettings,
        files: ModelFiles,
        options: Options,
        installed: install.Installation,
        variables: Mapping[str, str],
    ) -> None:
        self.files = files
        self._options = options
        self._installed = installed
        self._variables = variables
        self._routes = surface.GENERATING
        self._ahead = ReadAhead(weights(files.folder) if files.folder else ())
        self._fetch: Process | None = None
        super().__init__(worker)

    @classmethod
    def settings(cls, env: Environment) -> tuple[SettingsGroup, ...]:
        snapshot = snapshots.load(install.find(env.get("VLLM_PYTHON")).version)
        dropped = DroppedSettings(snapshot.table.by_variable)
        return VLLMSettings, SpeculativeSettings, snapshot.table, snapshot.environment, dropped

    @classmethod
    def configure(cls, env: Environment) -> Self:
        worker = WorkerSettings.load(env)
        installed = install.find(env.get("VLLM_PYTHON"))
        snapshot = snapshots.load(installed.version)
        options = read(env, snapshot)
        if worker.model_name is None:
            raise SettingsError([Problem("MODEL_NAME", "which model to serve: a repository `org/name`, or a folder")])
        variables = install.process_environment(
            {**os.environ, **snapshot.environment.read(env)},
            options.settings,
            installed.python,
            baked=env.source("MODEL_NAME").startswith("baked"),
        )
        caches = cache_folders(variables, options.settings.base_path)
        files = resolve(worker.model_name, options.values.get("revision"), caches)
        return cls(worker, files, options, installed, variables)

    @classmethod
    def requirements(cls, env: Environment) -> tuple[Requirement, ...]:
        installed = install.find(env.get("VLLM_PYTHON"))
        remedy = "pip install vllm, or set VLLM_PYTHON to the Python that has it"
        return (Requirement(f"vLLM in {installed.python}", installed.version is not None, remedy),)

    @property
    def models(self) -> tuple[str, ...]:
        return (*self._served_names, *self._options.lora_names)

    @property
    def _served_names(self) -> tuple[str, ...]:
        return self.worker.served_model_name or (self.files.name,)

    @property
    def source(self) -> str:
        """What vLLM is told to load: a folder where the model is there already, else the repository."""
        return str(self.files.folder or self.files.name)

    @property
    def routes(self) -> frozenset[Route]:
        return self._routes

    def knows_model(self, name: str) -> bool:
        """Where adapters may come and go while it runs, vLLM itself is asked."""
        return name in self.models or _LOAD_LORA in self._routes

    def command(self, address: Address) -> Sequence[str]:
        serve = (self._installed.python, "-m", "vllm.entrypoints.cli.main", "serve", self.source)
        return [*serve, "--uds", str(address.unix), "--served-model-name", *self._served_names, *self._options.argv]

    def environ(self) -> Mapping[str, str]:
        # Its sockets between processes go where they are swept up with ours.
        return {**self._variables, "VLLM_RPC_BASE_PATH": str(self.directory)}

    def make_proxy(self) -> Proxy:
        from .proxy import VLLMProxy

        return VLLMProxy(self, self.files.name, self.source)

    def prepare(self, path: str, json: dict[str, Any]) -> dict[str, Any] | None:
        return surface.with_structured_outputs(json)

    def normalise_error(self, status: int, body: bytes) -> APIError:
        return failures.normalise(status, body)

    def explain_exit(self, returncode: int, log: Sequence[str]) -> str | None:
        return failures.explain(returncode, log)

    async def before_start(self) -> None:
        if self._installed.version is None:
            raise EngineStartError(
                f"no vLLM is installed in {self._installed.python}: pip install vllm, or set VLLM_PYTHON to the "
                "Python that has it"
            )
        logger.info("vLLM %s, model %s from %s", self._installed.version, self.files.name, self.source)
        self._ahead.start()
        if (fetch := self._fetch_command()) is not None:
            self._fetch = await Process.spawn(fetch, name=f"{self.name}.fetch", environ=self._variables, grace=1)

    def _fetch_command(self) -> list[str] | None:
        values = self._options.values
        usual = values.get("load_format", "auto") in ("auto", "safetensors", "hf")
        if self.files.folder or not usual or self._variables.get("VLLM_USE_MODELSCOPE"):
            return None
        script = str(Path(__file__).with_name("fetch.py"))
        where = values.get("revision") or "", values.get("download_dir") or ""
        return [self._installed.python, script, self.files.name, *where]

    async def on_ready(self, upstream: Upstream) -> None:
        await self._stop_helpers()
        if described := await upstream.text("/openapi.json"):
            self._routes = surface.routes_of(msgspec.json.decode(described))
        if told := failures.phases(self._process.tail if self._process else ()):
            logger.info("vLLM says: %s", ", ".join(f"{phase} in {seconds:g} s" for phase, seconds in told))

    async def stop(self) -> None:
        await self._stop_helpers()
        await super().stop()

    async def _stop_helpers(self) -> None:
        await self._ahead.stop()
        if self._fetch is not None:
            await self._fetch.stop()
            self._fetch = None
