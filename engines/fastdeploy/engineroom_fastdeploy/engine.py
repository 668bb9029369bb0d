"""FastDeployEngine: `python -m fastdeploy.entrypoints.openai.api_server`, and what was learnt by running it."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engineroom.engine import MODELS, Capabilities, Requirement, Route
from engineroom.errors import APIError, Problem, Problems, SettingsError
from engineroom.models import ModelFiles, download
from engineroom.server import Address, EnginePython, ServerEngine, free_ports
from engineroom.settings import WorkerSettings

from . import gpu, logs
from .errors import normalise
from .installed import FASTDEPLOY, PADDLE, find, snapshots
from .memory import MEMORY
from .metric_names import METRIC_NAMES
from .requests import SAMPLING_PARAMS, prepare
from .settings import (
    ASIDE,
    DEFAULTS,
    USUAL_SETTINGS,
    FastDeploySettings,
    FastDeployVariables,
    OtherVersions,
    read_file,
    read_flags,
    running_version,
    table_of,
)

if TYPE_CHECKING:
    from engineroom.server import Proxy
    from engineroom.settings import Environment, SettingsGroup


class FastDeployEngine(ServerEngine):
    """FastDeploy 2.3 and newer in its own Python.

    Args:
        version: major and minor of the FastDeploy that runs.
        python: the Python that has it.
        flags: its options by its own names.
        variables: its environment variables that are set, wherever they were set.
    """

    name = "fastdeploy"
    summary = "FastDeploy (PaddlePaddle) 2.3 to 2.6 as a server process"
    metric_names = METRIC_NAMES
    model_formats = ("safetensors", "pdparams")
    preference = 30
    memory = MEMORY
    usual_settings = USUAL_SETTINGS
    defaults = DEFAULTS
    sampling_params = SAMPLING_PARAMS
    # Which parts a message may have, its own server knows: it depends on the model.
    capabilities = Capabilities(
        surfaces=frozenset({"chat", "completions", "embeddings"}),
        tools="optional",
        logprobs=True,
        several_choices=True,
        json_schema=True,
        images=True,
        audio=True,
        video=True,
    )
    secrets = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "FD_*", "MODELSCOPE_*", "AISTUDIO_*")
    diagnostics = logs.DIAGNOSTICS
    keep_alive = 1.5  # gunicorn, which it runs under, keeps an idle connection for 2 s

    def __init__(
        self,
        worker: WorkerSettings,
        settings: FastDeploySettings,
        version: tuple[int, int],
        python: EnginePython,
        flags: Mapping[str, Any],
        variables: Mapping[str, str],
    ) -> None:
        self._settings = settings
        self.version = version
        self._python = python
        self._flags = dict(flags)
        self._variables = {**_defaults(version), **variables}
        self._ports: list[int] = []
        self._revision = str(self._flags.pop("revision", "main")).replace("master", "main")
        self.idle_timeout = settings.fastdeploy_idle_timeout
        self.capabilities = self._narrowed()
        super().__init__(worker, settings.find(worker.model_name or "", self._revision, os.environ))

    @classmethod
    def settings(cls, env: Environment) -> tuple[SettingsGroup, ...]:
        try:
            version, _ = running_version(env)
        except SettingsError:
            version = None
        table = table_of(version)
        return (FastDeploySettings, table, ASIDE, FastDeployVariables(), OtherVersions(table))

    @classmethod
    def configure(cls, worker: WorkerSettings, env: Environment) -> FastDeployEngine:
        problems = Problems()
        oldest = min(snapshots())
        # Where no version can be told, all else is checked against the newest.
        newest = max(snapshots())
        assumed: tuple[tuple[int, int] | None, EnginePython] = (newest, find(env.get("FASTDEPLOY_PYTHON")))
        installed, python = problems.collect(lambda: running_version(env), assumed)
        if installed is None:
            message = f"no FastDeploy is installed for {python.executable}; name the Python that has it"
            problems.add("FASTDEPLOY_PYTHON", message)
        version = installed or newest
        if version < oldest:
            message = f"FastDeploy {version[0]}.{version[1]} is too old; {oldest[0]}.{oldest[1]} or newer is needed"
            problems.add("FASTDEPLOY_VERSION", message)
        settings = FastDeploySettings.load_valid(env, problems)
        more: dict[str, Any] = problems.collect(lambda: read_file(env), {})
        flags = read_flags(env, version, problems)
        problems.check()
        engine = cls(worker, settings, version, python, {**more, **flags}, FastDeployVariables().read(env))
        if engine.files.folder is None and engine.files.name.startswith(("/", ".", "~")):
            raise SettingsError([Problem("MODEL_NAME", f"there is no folder {engine.files.name}")])
        return engine

    @classmethod
    def requirements(cls, env: Environment) -> tuple[Requirement, ...]:
        python = find(env.get("FASTDEPLOY_PYTHON"))
        remedy = "set FASTDEPLOY_PYTHON to the Python that has it (docs/fastdeploy.md)"
        smi = Requirement("an NVIDIA GPU (nvidia-smi)", shutil.which("nvidia-smi") is not None, "docker run --gpus all")
        return (Requirement(f"FastDeploy in {python.executable}", python.version(*FASTDEPLOY) is not None, remedy), smi)

    @property
    def routes(self) -> frozenset[Route]:
        pooling = self._flags.get("runner") == "pooling" or self._flags.get("convert", "auto") not in ("auto", "none")
        posts = ("embeddings", "reward") if pooling else ("chat/completions", "completions")
        return MODELS | {Route("POST", f"/v1/{path}") for path in posts}

    def knows_model(self, name: str) -> bool:
        return name in ("default", self.worker.model_name) or super().knows_model(name)

    def _narrowed(self) -> Capabilities:
        """What this version can do with these settings."""
        # 2.6 aborts by default and 2.5 where asked for; both only with the scheduler that is their default.
        abort = (
            self._variables.get("FD_ENABLE_REQUEST_DISCONNECT_STOP_INFERENCE") == "1"
            and self._variables.get("ENABLE_V1_KVCACHE_SCHEDULER", "1") != "0"
        )
        capabilities = self.capabilities.narrow(abort=abort)
        if not self._flags.get("tool_call_parser"):
            reason = "Tools cannot be honoured: set TOOL_CALL_PARSER to the model's tool parser."
            capabilities = capabilities.narrow(reason, tools="none")
        if not self._flags.get("enable_logprob"):
            reason = "Logprobs cannot be honoured: set ENABLE_LOGPROB=true."
            capabilities = capabilities.narrow(reason, logprobs=False)
        if self._flags.get("guided_decoding_backend", "off") == "off":
            reason = "A format cannot be enforced: set GUIDED_DECODING_BACKEND."
            capabilities = capabilities.narrow(reason, json_schema=False)
        return capabilities

    async def before_start(self) -> None:
        if self._settings.fastdeploy_checks:
            devices = await asyncio.to_thread(gpu.devices, self.environ())
            carried = self._settings.fastdeploy_sm or gpu.carried(self.version, os.environ)
            gpu.check(self.version, self._python.version(*PADDLE), carried, devices)
        # FastDeploy's own downloader asks another hub and hides every error.
        if self.files.folder is None and "FD_MODEL_SOURCE" not in self._variables:
            name = self.files.name
            downloaded = await download(
                name, self.environ(), self.timeline, revision=self._revision, formats=self.model_formats
            )
            self.files = ModelFiles(name, downloaded.folder)

    def command(self, address: Address) -> Sequence[str]:
        import yaml

        assert self.directory is not None
        ranks = int(self._flags.get("data_parallel_size", 1))
        self._ports = [address.port or 0, *free_ports(2 * ranks + 1)]
        queues = self._ports[1 : ranks + 1]
        caches = self._ports[ranks + 1 : -1]
        config = {
            "workers": 1,
            **self._flags,
            "host": "127.0.0.1",
            "port": address.port,
            "engine_worker_queue_port": ",".join(map(str, queues)),
            "cache_queue_port": ",".join(map(str, caches)),
            "model": self.source,
            "served_model_name": self.models[0],
        }
        if self.version < (2, 4):
            config["metrics_port"] = self._ports[-1]
        path = self.directory / "fastdeploy.yaml"
        path.write_text(yaml.safe_dump(config))
        module = "fastdeploy.entrypoints.openai.api_server"
        return [self._python.executable, "-m", module, "--config", str(path)]

    def environ(self) -> Mapping[str, str]:
        private = {"FD_LOG_DIR": f"{self.directory}/log", "PROMETHEUS_MULTIPROC_DIR": f"{self.directory}/prometheus"}
        token = self._settings.hf_token
        hub = {"HF_TOKEN": token.get_secret_value()} if token else {}
        return {**private, **os.environ, **hub, **self._variables}

    def leftovers(self) -> Sequence[str]:
        port = self._ports[0]
        queues = self._ports[1:]
        names = [f"{port}.socket", f"router_{port}.ipc", f"response_{port}_*.pull"]
        names += [name for queue in queues for name in (f"*.{queue}", f"*.{queue}_*", f"fd_task_queue_{queue}.sock")]
        return [f"/tmp/fd_weight_clear_update_lock__pid{port}_*.lock", *(f"/dev/shm/{name}" for name in names)]

    def headers(self) -> Mapping[str, str]:
        key = self._variables.get("FD_API_KEY", "").split(",")[0]
        return {"Authorization": f"Bearer {key}"} if key else {}

    def make_proxy(self) -> Proxy:
        from .proxy import FastDeployProxy

        return FastDeployProxy(self)

    def prepare(self, path: str, json: dict[str, Any]) -> dict[str, Any]:
        return prepare(path, json, self.models[0], self.version)

    def normalise_error(self, status: int, body: bytes) -> APIError:
        return normalise(status, body)

    def log(self) -> list[str]:
        return [*super().log(), *logs.of_workers(Path(self.environ()["FD_LOG_DIR"]))]

    def variables(self) -> Mapping[str, str]:
        return {**super().variables(), **{name.upper(): str(value) for name, value in self._flags.items()}}


def _defaults(version: tuple[int, int]) -> dict[str, str]:
    """FastDeploy's variables that are set unless the user sets them."""
    defaults = {"DO_NOT_TRACK": "1"}
    if version >= (2, 5):
        defaults["FD_ENABLE_REQUEST_DISCONNECT_STOP_INFERENCE"] = "1"
    if version >= (2, 6):
        # Batched replies get lost when they come before anybody listens; and prompts are nobody's business.
        defaults |= {"ZMQ_SEND_BATCH_DATA": "0", "FD_LOG_REQUESTS": "0"}
    return defaults
