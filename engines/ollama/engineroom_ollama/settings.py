"""Ollama's own variables as settings, from variables.json: it passes over a value that it cannot read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from engineroom.errors import Problems
from engineroom.models import writable
from engineroom.settings import Environment, FlagTable, OtherName, Settings, UsualSetting, doubted, dropped, taken
from engineroom.settings import usual_settings as usual

VARIABLES = FlagTable.load(Path(__file__).with_name("variables.json"))
"""What `ollama serve` reads of its environment (envconfig/config.go), with the defaults that it is given here."""

_DURATION = re.compile(r"-?(\d+|(\d+(\.\d+)?(ms|s|m|h))+)")
_DURATIONS = ("ollama_keep_alive", "ollama_load_timeout")
_NO_CLOUD = "nothing of a worker's Ollama goes to ollama.com's computers"
_COMMAND_LINE = "it is about Ollama's command line, which no worker uses"

OTHER_NAMES: Mapping[str, OtherName] = {
    **taken("OLLAMA_CONTEXT_LENGTH", ["OLLAMA_NUM_CTX"]),
    **doubted("MODEL_NAME", "a name of Ollama's library", ["OLLAMA_MODEL"]),
    **doubted("HOST", "and PORT; Ollama itself listens for the worker alone", ["OLLAMA_HOST"]),
    **doubted("CORS_ORIGINS", "the origins, separated by commas", ["OLLAMA_ORIGINS"]),
    **dropped(
        {
            "OLLAMA_MAX_LOADED_MODELS": "a worker's Ollama has one model",
            "OLLAMA_DEBUG_LOG_REQUESTS": "it would write what clients send to files that nobody deletes",
            **dict.fromkeys(["OLLAMA_NO_CLOUD", "OLLAMA_REMOTES", "OLLAMA_AUTH", "OLLAMA_API_KEY"], _NO_CLOUD),
            **dict.fromkeys(["OLLAMA_EDITOR", "OLLAMA_NOHISTORY"], _COMMAND_LINE),
        }
    ),
}
USUAL_SETTINGS: Mapping[UsualSetting, str] = {
    usual.CONTEXT_LENGTH: "OLLAMA_CONTEXT_LENGTH",
    usual.PARALLEL_REQUESTS: "OLLAMA_NUM_PARALLEL",
    usual.GPU_LAYERS: "OLLAMA_NUM_GPU",
    usual.THREADS: "OLLAMA_NUM_THREAD",
    usual.KV_CACHE_TYPE: "OLLAMA_KV_CACHE_TYPE",
    usual.FLASH_ATTENTION: "OLLAMA_FLASH_ATTENTION",
}


class OllamaSettings(Settings):
    """What is not among Ollama's variables."""

    title: ClassVar[str] = "Ollama"

    ollama_command: str = Field("ollama", description="Ollama's command, or its path if it is not on PATH.")
    base_path: str = Field("/runpod-volume", description="A volume that outlives the worker, for models.")
    ollama_num_gpu: int | None = Field(
        None, ge=0, description="Layers on the GPU, Ollama's option `num_gpu`; as many as fit by default, 0 for none."
    )
    ollama_num_thread: int | None = Field(None, ge=1, description="CPU threads, Ollama's option `num_thread`.")

    @property
    def options(self) -> dict[str, int]:
        """Options of Ollama's API with which the model is loaded; a request with others would load it anew."""
        options = {"num_gpu": self.ollama_num_gpu, "num_thread": self.ollama_num_thread}
        return {name: value for name, value in options.items() if value is not None}

    def variables(self, env: Environment) -> dict[str, str]:
        """The environment of `ollama serve`. Raises SettingsError with all that is wrong."""
        problems = Problems()
        given = VARIABLES.read_valid(env, problems)
        for name in _DURATIONS:
            if name in given and not _DURATION.fullmatch(given[name]):
                problems.add(name.upper(), f"expected seconds, or a duration such as 5m; got {given[name]!r}")
        problems.check()
        if "ollama_models" in given:
            given["ollama_models"] = str(Path(given["ollama_models"]).expanduser())
        volume = writable(self.base_path)
        kept: dict[str, Any] = {"ollama_models": str(volume / "ollama" / "models")} if volume else {}
        defaults = {flag.name: flag.parse(flag.default) for flag in VARIABLES.flags if flag.default is not None}
        values = {**kept, **defaults, **given, "ollama_no_cloud": True}
        return {name.upper(): str(int(value) if isinstance(value, bool) else value) for name, value in values.items()}
