"""SGLang: `python -m sglang.launch_server` in its own Python, on a loopback port."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from engineroom.adapters import BUCKET_VARIABLES, Adapter, AdapterPool, Adapters, AdapterSettings
from engineroom.engine import MODELS, Capabilities, Requirement, Route
from engineroom.errors import APIError, EngineStartError, Problems
from engineroom.hardware import gpus
from engineroom.models import LIBRARY_VARIABLES
from engineroom.openai.routes import CHAT_COMPLETIONS, COMPLETIONS, EMBEDDINGS, RERANK
from engineroom.server import Address, EnginePython, ServerEngine, diagnose
from engineroom.settings import Environment, SettingsGroup, Variables, WorkerSettings, of_other_versions

from . import requests, settings
from .diagnostics import DIAGNOSTICS, normalise
from .memory import MEMORY
from .metric_names import METRIC_NAMES
from .settings import SGLangSettings

if TYPE_CHECKING:
    from engineroom.server import Proxy

_LORAS = 8
"""Adapters in one batch, and in the GPU's memory, where clients ask for them by name (its own default)."""


class SGLangEngine(ServerEngine):
    """SGLang 0.5.20 and newer. Its flags are settings, known from a snapshot of its own parser.

    Args:
        own: where it is.
        flags: its flags by name, parsed.
        variables: its environment.
        adapters: the LoRA adapters that clients may ask for.
    """

    name = "sglang"
    summary = "SGLang 0.5 as a server process, from settings of worker-sglang and of its own flags"
    metric_names = METRIC_NAMES
    model_formats = ("safetensors", "pytorch")
    preference = 15
    memory = MEMORY
    adapter_setting = "LORA_DIR"
    remedy = settings.remedy()
    usual_settings = settings.USUAL_SETTINGS
    other_names = settings.OTHER_NAMES
    defaults: ClassVar[Mapping[str, str]] = {"MAX_CONCURRENCY": "300"}
    sampling_params = requests.SAMPLING_PARAMS
    generating_processes = r"sglang::scheduler"
    progress_metrics = ("sglang:prompt_tokens_total", "sglang:generation_tokens_total", "sglang:realtime_tokens_total")
    secrets = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_*", "SGLANG_*")
    diagnostics = DIAGNOSTICS
    # Its own server knows what the model takes, and refuses the rest: images, sound, video.
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
        own: SGLangSettings,
        python: EnginePython,
        flags: Mapping[str, Any],
        variables: Mapping[str, str],
        adapters: AdapterSettings,
    ) -> None:
        self._python = python
        self._flags = {**_worked_out(flags, adapters), **flags}
        self._variables = variables
        self._honoured = requests.honoured(self._flags)
        self.capabilities = _narrowed(self.capabilities, self._flags)
        if self._flags.get("enable_memory_saver") and self._flags.get("enable_weights_cpu_backup"):
            # Without a copy in the machine's memory the weights would be gone.
            self.sleep_paths = ("/release_memory_occupation", "/resume_memory_occupation")
        if self._flags.get("node_rank", 0) > 0:
            self.follows = f"a node that computes for the one at {self._flags.get('dist_init_addr')}"
        super().__init__(worker, own.find(worker.required_model(), self._flags.get("revision"), variables))
        if adapters.in_use:
            pool = AdapterPool(self._load_adapter, self._unload_adapter, self._capacity)
            self.lora = Adapters.of(adapters, own, variables, pool)

    @classmethod
    def settings(cls, env: Environment) -> tuple[SettingsGroup, ...]:
        version = settings.find(env.get("SGLANG_PYTHON")).version("sglang")
        table = settings.table(version)
        others = of_other_versions(settings.all_flags(version), settings.SNAPSHOTS)
        environment = Variables("SGLang's environment", _names(table.environ))
        return SGLangSettings, AdapterSettings, table, settings.ASIDE, others, environment

    @classmethod
    def configure(cls, worker: WorkerSettings, env: Environment) -> SGLangEngine:
        python = settings.find(env.get("SGLANG_PYTHON"))
        table = settings.table(python.version("sglang"))
        problems = Problems()
        own = SGLangSettings.load_valid(env, problems)
        adapters = AdapterSettings.load_valid(env, problems)
        flags = {**table.read(Environment.of(_defaults())), **table.read_valid(env, problems)}
        if flags.get("skip_tokenizer_init"):
            problems.add("SKIP_TOKENIZER_INIT", "answers would be numbers instead of text; leave it out")
        if flags.get("nnodes", 1) > 1 and not flags.get("dist_init_addr"):
            problems.add("DIST_INIT_ADDR", "several nodes (NNODES) meet at host and port of the first: set it on each")
        problems.check()
        variables = own.environ(env, (*_names(table.environ), *BUCKET_VARIABLES), caches=settings.CACHES)
        return cls(worker, own, python, flags, python.on_path(variables), adapters)

    @classmethod
    def requirements(cls, env: Environment) -> tuple[Requirement, ...]:
        python = settings.find(env.get("SGLANG_PYTHON"))
        there = python.version("sglang") is not None
        return (Requirement(f"SGLang in {python.executable}", there, settings.remedy()),)

    @property
    def routes(self) -> frozenset[Route]:
        if self._flags.get("is_embedding"):
            paths: tuple[str, ...] = (EMBEDDINGS, RERANK, "/v1/score", "/classify", "/encode")
        else:
            paths = (CHAT_COMPLETIONS, COMPLETIONS, "/v1/score", "/generate")
        return MODELS | {Route("POST", path) for path in (*paths, "/v1/tokenize", "/v1/detokenize")}

    async def before_start(self) -> None:
        if self._python.version("sglang") is None:
            raise EngineStartError(f"no SGLang is installed in {self._python.executable}: {settings.remedy()}")

    def command(self, address: Address) -> Sequence[str]:
        ours = ["--host=127.0.0.1", f"--port={address.port}", f"--served-model-name={super().models[0]}"]
        ours.append("--log-level-http=warning")  # The door has the access log.
        table = settings.table(self._python.version("sglang"))
        launch = [self._python.executable, "-m", "sglang.launch_server", f"--model-path={self.source}"]
        return [*launch, *ours, *table.argv(self._flags)]

    def environ(self) -> Mapping[str, str]:
        # Its health check would generate a token each second; whether it generates, the watchdog finds out by itself.
        # It ends an idle connection after 5 s; the worker keeps one for a minute.
        quiet = {"SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION": "false", "SGLANG_TIMEOUT_KEEP_ALIVE": "75"}
        return {**quiet, **self._variables, "TMPDIR": str(self.directory)}

    def make_proxy(self) -> Proxy:
        from .proxy import SGLangProxy

        return SGLangProxy(self, super().models[0])

    def prepare(self, path: str, json: dict[str, Any]) -> dict[str, Any]:
        asked = json.get("model")
        model = super().models[0]
        adapter = asked if self.lora is not None and isinstance(asked, str) and asked not in self.models else None
        if path == "/generate":
            return {name: value for name, value in json.items() if name != "model"}
        return requests.prepare(path, json, self._honoured, model, adapter)

    def normalise_error(self, status: int, body: bytes) -> APIError:
        return normalise(status, body)

    def explain_exit(self, returncode: int, log: Sequence[str]) -> str | None:
        """It kills itself with signal 9 where one of its processes fails, and has then logged why."""
        return diagnose(log, self.diagnostics, self.situation())

    def variables(self) -> Mapping[str, str]:
        flags = {name.upper(): str(value) for name, value in self._flags.items()}
        return {**super().variables(), "SGLANG_PYTHON": self._python.executable, **flags}

    @property
    def _capacity(self) -> int:
        return int(self._flags.get("max_loaded_loras") or self._flags["max_loras_per_batch"])

    async def _load_adapter(self, adapter: Adapter) -> None:
        await self.tell("/load_lora_adapter", {"lora_name": adapter.name, "lora_path": str(adapter.path)})

    async def _unload_adapter(self, name: str) -> None:
        await self.tell("/unload_lora_adapter", {"lora_name": name})


def _names(environ: Sequence[str]) -> tuple[str, ...]:
    """The variables that SGLang and its libraries read, but for ours."""
    return tuple(sorted({*environ, *LIBRARY_VARIABLES} - {"SGLANG_PYTHON"}))


def _defaults() -> dict[str, str]:
    return {name.upper(): value for name, value in settings.DEFAULTS.items()}


def _worked_out(flags: Mapping[str, Any], adapters: AdapterSettings) -> dict[str, Any]:
    """What is set where the user has not."""
    worked_out: dict[str, Any] = {}
    parallel = gpus.tensor_parallel(os.environ, flags)
    if parallel > 1:
        worked_out["tensor_parallel_size"] = parallel
    if adapters.in_use:
        # Without both it would have to know an adapter at its start to take any later.
        worked_out |= {"enable_lora": True, "max_loras_per_batch": _LORAS}
        worked_out |= {"max_lora_rank": 64, "lora_target_modules": ["all"]}
    return worked_out


def _narrowed(capabilities: Capabilities, flags: Mapping[str, Any]) -> Capabilities:
    """What SGLang can do with these flags."""
    if not flags.get("tool_call_parser"):
        reason = "Tools cannot be honoured: set TOOL_CALL_PARSER to the model's (`auto` finds it for many)."
        capabilities = capabilities.narrow(reason, tools="none")
    if flags.get("grammar_backend") == "none":
        capabilities = capabilities.narrow("A format cannot be enforced with GRAMMAR_BACKEND=none.", json_schema=False)
    return capabilities
