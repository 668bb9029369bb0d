"""vLLM: `vllm serve` beside us, on a Unix socket, in its own Python."""

from __future__ import annotations

import logging
import signal
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from engineroom.adapters import BUCKET_VARIABLES, Adapter, AdapterPool, Adapters, AdapterSettings
from engineroom.engine import Capabilities, Requirement, Route
from engineroom.errors import APIError, EngineStartError
from engineroom.models import ModelDownload, ModelFiles, weights
from engineroom.server import Address, EnginePython, ReadAhead, ServerEngine
from engineroom.settings import WorkerSettings

from . import adapter_errors, diagnostics, install, snapshots, surface, worker_vllm
from .memory import MEMORY
from .metric_names import METRIC_NAMES
from .options import ServeOptions, read
from .other_names import OTHER_NAMES, USUAL_SETTINGS
from .settings import VLLMSettings

if TYPE_CHECKING:
    from typing_extensions import Self

    from engineroom.server import Proxy, Upstream
    from engineroom.settings import Environment, SettingsGroup

logger = logging.getLogger(__name__)

_LOAD_LORA = Route("POST", surface.LOAD_ADAPTER)


_KEEP_ALIVE_S = "75"
"""Longer than the connections to it are kept here; its own 5 s leave them all to be made anew."""


class VLLMEngine(ServerEngine):
    """vLLM's OpenAI server. Its flags are settings, known from a snapshot of its own parser."""

    name = "vllm"
    summary = "vLLM: high throughput on GPUs, many models, LoRA, tools, structured output"
    metric_names = METRIC_NAMES
    defaults = worker_vllm.DEFAULTS
    model_formats = ("safetensors", "pytorch")
    preference = 10
    adapter_setting = "LORA_MODULES"
    memory = MEMORY
    secrets = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "VLLM_*", "AWS_*", "AZURE_*", "GOOGLE_*")
    diagnostics = diagnostics.DIAGNOSTICS
    progress_metrics = ("vllm:iteration_tokens_total_count",)
    generating_processes = "EngineCore|VLLM::Worker|ray::"
    transport = "unix"
    other_names = OTHER_NAMES
    usual_settings = USUAL_SETTINGS
    sampling_params = surface.SAMPLING_PARAMS
    # Its own server knows what the model takes, and refuses the rest: tools without a parser, images, sound, video.
    capabilities = Capabilities(
        surfaces=frozenset({"chat", "completions", "embeddings", "rerank"}),
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
        options: ServeOptions,
        python: EnginePython,
        variables: Mapping[str, str],
    ) -> None:
        self._options = options
        self._python = python
        self._variables = variables
        self._routes = surface.GENERATING
        self._honoured = surface.pinned_fields()
        self._ahead = ReadAhead(weights(files.folder) if files.folder else ())
        self._download: ModelDownload | None = None
        self._links: dict[str, Path] = {}
        if options.values.get("enable_sleep_mode"):
            self.sleep_paths = surface.SLEEP_PATHS
        if options.follower:
            self.follows = f"a follower of the node at {options.head}, which takes the requests"
        super().__init__(worker, files)
        if options.adapters.in_use:
            pool = AdapterPool(self._load_adapter, self._unload_adapter, options.lora_capacity)
            self.lora = Adapters.of(options.adapters, options.settings, variables, pool)

    @classmethod
    def settings(cls, env: Environment) -> tuple[SettingsGroup, ...]:
        snapshot = snapshots.load(install.find(env.get("VLLM_PYTHON")).version("vllm"))
        own = (VLLMSettings, AdapterSettings, worker_vllm.SpeculativeSettings, snapshot.table, snapshot.environment)
        return (*own, snapshots.ASIDE, snapshot.others)

    @classmethod
    def unset_values(cls, env: Environment) -> Mapping[str, Collection[str]]:
        return worker_vllm.unset_values(snapshots.load(install.find(env.get("VLLM_PYTHON")).version("vllm")).table)

    @classmethod
    def configure(cls, worker: WorkerSettings, env: Environment) -> Self:
        python = install.find(env.get("VLLM_PYTHON"))
        snapshot = snapshots.load(python.version("vllm"))
        options = read(env, snapshot)
        names = (*snapshot.environment.names, *BUCKET_VARIABLES)
        variables = install.process_environment(env, options.settings, names, python)
        if options.adapters.in_use:
            variables["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "1"
        if options.values.get("enable_sleep_mode"):
            # Without it there are no routes for that. Clients reach none of those that it opens.
            variables["VLLM_SERVER_DEV_MODE"] = "1"
        files = options.settings.find(worker.required_model(), options.values.get("revision"), variables)
        return cls(worker, files, options, python, variables)

    @classmethod
    def requirements(cls, env: Environment) -> tuple[Requirement, ...]:
        python = install.find(env.get("VLLM_PYTHON"))
        return (Requirement(f"vLLM in {python.executable}", python.version("vllm") is not None, install.remedy()),)

    @property
    def models(self) -> tuple[str, ...]:
        return (*super().models, *self._options.lora_names)

    @property
    def routes(self) -> frozenset[Route]:
        return self._routes

    async def find_model(self, name: str) -> bool:
        """Where clients may load adapters, vLLM itself is asked."""
        return _LOAD_LORA in self._routes or await super().find_model(name)

    async def _load_adapter(self, adapter: Adapter) -> None:
        place = self._link(adapter) if self._options.one_machine else adapter.path
        try:
            await self.tell(surface.LOAD_ADAPTER, {"lora_name": adapter.name, "lora_path": str(place)})
        except APIError as error:
            self._unlink(adapter.name)
            raise adapter_errors.explained(adapter, place, error) from error

    async def _unload_adapter(self, name: str) -> None:
        try:
            await self.tell(surface.UNLOAD_ADAPTER, {"lora_name": name})
        finally:
            self._unlink(name)

    def _link(self, adapter: Adapter) -> Path:
        """A path that changes with the adapter's files: by that vLLM keeps what it has computed with it."""
        assert self.directory is not None
        link = self._links[adapter.name] = self.directory / "adapters" / adapter.version
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(adapter.path)
        return link

    def _unlink(self, name: str) -> None:
        link = self._links.pop(name, None)
        if link is not None:
            link.unlink(missing_ok=True)

    def command(self, address: Address) -> Sequence[str]:
        serve = [self._python.executable, "-m", "vllm.entrypoints.cli.main", "serve", self.source]
        names = super().models  # Adapters have their names in their own flag.
        listen = [] if self.follows else ["--uds", str(address.unix)]
        return [*serve, *listen, "--served-model-name", *names, *self._options.argv]

    def environ(self) -> Mapping[str, str]:
        # Its sockets between processes go where they are swept up with ours.
        # A connection that is kept between requests is ready for the next.
        kept = {"VLLM_HTTP_TIMEOUT_KEEP_ALIVE": _KEEP_ALIVE_S}
        return {**kept, **self._variables, "VLLM_RPC_BASE_PATH": str(self.directory)}

    def make_proxy(self) -> Proxy:
        from .proxy import VLLMProxy

        return VLLMProxy(self, self.files.name, self.source)

    def prepare(self, path: str, json: dict[str, Any]) -> dict[str, Any] | None:
        return surface.prepare(path, json, self._honoured)

    def normalise_error(self, status: int, body: bytes) -> APIError:
        return diagnostics.normalise(status, body)

    def variables(self) -> Mapping[str, str]:
        flags_in_force = {name.upper(): str(value) for name, value in self._options.values.items()}
        return {**super().variables(), "VLLM_PYTHON": self._python.executable, **flags_in_force}

    def explain_exit(self, returncode: int, log: Sequence[str]) -> str | None:
        return None if returncode == -signal.SIGKILL else diagnostics.explain(log, self.situation())

    def safer(self, log: Sequence[str]) -> Mapping[str, str]:
        """What is set in VLLM_EXTRA_ARGS or in a file would win over a variable, and is the user's wish."""
        safer = super().safer(log)
        return {name: value for name, value in safer.items() if name.lower() not in self._options.elsewhere}

    async def before_start(self) -> None:
        version = self._python.version("vllm")
        if version is None:
            raise EngineStartError(f"no vLLM is installed in {self._python.executable}: {install.remedy()}")
        logger.info("vLLM %s, model %s from %s", version, self.files.name, self.source)
        if self.lora is not None:
            names = await self.lora.sources.names()
            logger.info("adapters that clients may ask for by name: %s", ", ".join(names) or "none yet")
            if version.endswith("+cpu"):
                logger.warning(
                    "vLLM's CPU build applies an adapter also to requests for the model itself that it computes in the "
                    "same step; its GPU builds do not"
                )
        self._ahead.start()
        # vLLM imports for a quarter of a minute before it asks the hub, and then finds what is here already. Some load
        # formats take other files than these.
        on_hub = self.files.folder is None and "://" not in self.files.name
        usual_files = self._options.values.get("load_format", "auto") in ("auto", "safetensors", "hf")
        if on_hub and usual_files and not self._variables.get("VLLM_USE_MODELSCOPE"):
            await self._begin_download()

    async def _begin_download(self) -> None:
        """Raises EngineStartError where the hub has no such model for us; vLLM would need half a minute to say so."""
        self._download = ModelDownload(
            self.files.name,
            self._variables,
            self.timeline,
            revision=self._options.values.get("revision"),
            cache=self._options.values.get("download_dir"),
            formats=self.model_formats,
            client=True,
        )
        try:
            await self._download.start()
        except EngineStartError as error:
            if self._download.explained:
                raise
            logger.info("%s; vLLM tries it itself", error)

    async def on_ready(self, upstream: Upstream) -> None:
        await self._stop_helpers()
        description = await upstream.description("/openapi.json")
        if description:
            openapi = msgspec.json.decode(description)
            self._routes = surface.routes_of(openapi, own_adapters=self.lora is not None)
            self._honoured |= surface.fields_of(openapi)
        phases = diagnostics.phases(self.log())
        if phases:
            logger.info("vLLM says: %s", ", ".join(f"{phase} in {seconds:g} s" for phase, seconds in phases))

    async def stop(self) -> None:
        await self._stop_helpers()
        await super().stop()

    async def _stop_helpers(self) -> None:
        await self._ahead.stop()
        if self._download is not None:
            await self._download.stop()
            self._download = None
