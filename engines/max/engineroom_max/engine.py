"""MAX: `max serve` in an environment of its own, on a loopback port, its metrics on another."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from engineroom.engine import MODELS, Capabilities, Requirement, Route
from engineroom.models import HubSettings, model_config, weights
from engineroom.openai.routes import CHAT_COMPLETIONS, COMPLETIONS, EMBEDDINGS
from engineroom.server import Address, ServerEngine, free_port, narrow_tools
from engineroom.settings import (
    Environment,
    FlagTable,
    OtherName,
    SettingsGroup,
    UsualSetting,
    Variables,
    WorkerSettings,
    of_other_versions,
    refused,
    taken,
    version_beside,
)
from engineroom.settings import usual_settings as usual

from . import requests
from .diagnostics import DIAGNOSTICS
from .memory import MEMORY
from .metric_names import METRIC_NAMES

if TYPE_CHECKING:
    from engineroom.server import Proxy, Upstream


_SNAPSHOTS = Path(__file__).with_name("flags")


class MAXSettings(HubSettings):
    title: ClassVar[str] = "MAX"
    max_command: str = Field("max", description="MAX's command, or its path if it is not on PATH.")


class MAXEngine(ServerEngine):
    """Modular's MAX. Its flags are settings, known from a snapshot of its own parser."""

    name = "max"
    summary = "MAX (Modular): models compiled for GPUs of several makers, and for CPUs"
    metric_names = METRIC_NAMES
    model_formats = ("safetensors", "gguf")
    preference = 20
    adapter_setting = "LORA_PATHS"
    memory = MEMORY
    capabilities = Capabilities(
        surfaces=frozenset({"chat", "completions", "embeddings"}),
        tools="forced",
        logprobs=True,
        several_choices=True,
        json_schema=True,
        images=True,
    )
    remedy = 'uv pip install "max[serve]" into an environment of its own, and set MAX_COMMAND to the `max` in it'
    sampling_params = requests.SAMPLING_PARAMS
    other_names: ClassVar[Mapping[str, OtherName]] = {
        **taken("HOST", ["MAX_SERVE_HOST"]),
        **taken("PORT", ["MAX_SERVE_PORT"]),
        **refused(
            "LORA_PATHS", "the folder of each adapter, not one folder of them all", ("LORA_ADAPTERS_DIR", "LORA_DIR")
        ),
        **refused(
            "DEVICES",
            "gpu:0,1 and so on",
            [*usual.TENSOR_PARALLEL.names, *(name for name, _ in usual.TENSOR_PARALLEL.near)],
        ),
    }
    usual_settings: ClassVar[Mapping[UsualSetting, str]] = {
        usual.CONTEXT_LENGTH: "MAX_LENGTH",
        usual.PARALLEL_REQUESTS: "MAX_BATCH_SIZE",
        usual.BATCH_TOKENS: "MAX_BATCH_INPUT_TOKENS",
        usual.GPU_MEMORY: "DEVICE_MEMORY_UTILIZATION",
        usual.QUANTISATION: "QUANTIZATION_ENCODING",
        usual.MODEL_REVISION: "HUGGINGFACE_MODEL_REVISION",
        usual.CHAT_TEMPLATE: "CHAT_TEMPLATE",
        usual.REMOTE_CODE: "TRUST_REMOTE_CODE",
        usual.KV_CACHE_TYPE: "KV_CACHE_FORMAT",
    }
    secrets = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "MODULAR_*", "MAX_*")
    diagnostics = DIAGNOSTICS

    def __init__(self, worker: WorkerSettings, own: MAXSettings, table: FlagTable, env: Environment) -> None:
        self._own = own
        self._table = table
        given = table.read(env)
        self._variables = own.environ(env, table.environ, compiled=("MODULAR_CACHE_DIR", "max-cache"))
        files = own.find(worker.required_model(), given.get("huggingface_model_revision"), self._variables)
        self.flags = {**_defaults(files.folder, given), **given}
        self._revision = given.get("huggingface_model_revision")
        self._vocabulary: int | None = None
        self._task = "text_generation"
        if not self.flags.get("enable_structured_output"):
            reason = "MAX cannot enforce a format now; set ENABLE_STRUCTURED_OUTPUT=true."
            self.capabilities = self.capabilities.narrow(reason, json_schema=False)
        super().__init__(worker, files)

    @classmethod
    def settings(cls, env: Environment) -> tuple[SettingsGroup, ...]:
        table = _table(env)
        others = of_other_versions(table, _SNAPSHOTS)
        return MAXSettings, table, others, Variables("MAX's environment", table.environ)

    @classmethod
    def configure(cls, worker: WorkerSettings, env: Environment) -> MAXEngine:
        return cls(worker, MAXSettings.load(env), _table(env), env)

    @classmethod
    def requirements(cls, env: Environment) -> tuple[Requirement, ...]:
        command = env.get("MAX_COMMAND", "max")
        return (Requirement(f"MAX as `{command}`", shutil.which(command) is not None, cls.remedy),)

    @property
    def routes(self) -> frozenset[Route]:
        paths = {"text_generation": (CHAT_COMPLETIONS, COMPLETIONS), "embeddings_generation": (EMBEDDINGS,)}.get(
            self._task, ()
        )
        return MODELS | {Route("POST", path) for path in paths}

    def command(self, address: Address) -> Sequence[str]:
        ours = ("--host=127.0.0.1", f"--port={address.port}", f"--served-model-name={self.models[0]}")
        return [self._own.max_command, "serve", f"--model-path={self.source}", *ours, *self._table.argv(self.flags)]

    def environ(self) -> Mapping[str, str]:
        # Its sockets between processes are swept up with ours; it keeps its metrics, and sends nothing to Modular.
        port = free_port()
        self.metrics_path = f"http://127.0.0.1:{port}/metrics"
        ours = {"MAX_SERVE_METRICS_ENDPOINT_PORT": str(port), "TMPDIR": str(self.directory)}
        silent = {"OTEL_SDK_DISABLED": "true", "MAX_SERVE_DISABLE_TELEMETRY": "0", "MODULAR_TELEMETRY_ENABLED": "0"}
        return {**self._variables, **ours, **silent}

    def make_proxy(self) -> Proxy:
        from engineroom.server import FanOutProxy

        return FanOutProxy(self)

    def prepare(self, path: str, json: dict[str, Any]) -> dict[str, Any]:
        return requests.prepare(path, {**json, "model": self.models[0]}, self.flags, self._vocabulary)

    def variables(self) -> Mapping[str, str]:
        return {**super().variables(), **{name.upper(): str(value) for name, value in self.flags.items()}}

    async def on_ready(self, upstream: Upstream) -> None:
        task_line = re.search(r"pipeline task: (\w+)", "\n".join(self._process.tail if self._process else ()))
        self._task = self.flags.get("task") or (task_line[1] if task_line else self._task)
        # By now MAX has what it had to download.
        downloaded = self._own.find(self.files.name, self._revision, self._variables).folder
        folder = self.files.folder or downloaded
        config = {} if folder is None else model_config(folder)
        vocabulary = {**config, **(config.get("text_config") or {})}.get("vocab_size")
        self._vocabulary = vocabulary if isinstance(vocabulary, int) else None
        if config and not any("vision" in name for name in config):
            self.capabilities = self.capabilities.narrow("This model takes no images.", images=False)
        if self._task == "text_generation":
            self.capabilities = await narrow_tools(self.capabilities, upstream, self.models[0])


def _table(env: Environment) -> FlagTable:
    version = version_beside(env.get("MAX_COMMAND", "max"), "max") or env.get("MAX_VERSION")
    table = FlagTable.nearest(_SNAPSHOTS, version)
    return table.with_defaults({"enable_penalties": "true", "enable_min_tokens": "true"})


def _defaults(folder: Path | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Flags that are set unless the user sets them. A CPU has float32 and GGUF's forms; MAX alone takes the latter."""
    on_cpu = not any(map(os.path.exists, ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg"))) or given.get("devices") == "cpu"
    gguf = folder and any(path.suffix == ".gguf" for path in weights(folder))
    more = {"quantization_encoding": "float32"} if on_cpu and not gguf else {}
    penalties = not given.keys() & {"draft_model_path", "enable_echo"}  # MAX has none with either
    return {"enable_penalties": penalties, "enable_min_tokens": True, **more}
