"""From the environment to `vllm serve`'s command line, everything checked that can be without vLLM."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engineroom.errors import Problem, SettingsError
from engineroom.settings import Environment, suggest

from . import gpus
from .settings import SpeculativeSettings, VLLMSettings
from .snapshots import OURS, Snapshot
from .worker_vllm import DroppedSettings, translate

if TYPE_CHECKING:
    from engineroom.settings import Flag, FlagTable

logger = logging.getLogger(__name__)

GPU_MEMORY_UTILIZATION = 0.95
"""worker-vllm's default: nothing else runs on the worker's GPU. vLLM's own leaves more free."""


@dataclass(frozen=True, slots=True)
class Options:
    """What vLLM is started with.

    values: parsed flags by name, to be written as `table` says.
    extra: the command line's end as the user wrote it.
    """

    settings: VLLMSettings
    table: FlagTable
    values: Mapping[str, Any]
    extra: tuple[str, ...] = ()

    @property
    def argv(self) -> list[str]:
        config = self.settings.vllm_config_file
        return [*(("--config", config) if config else ()), *self.table.argv(self.values), *self.extra]

    @property
    def lora_names(self) -> tuple[str, ...]:
        """The names of the adapters that are there from the start."""
        return tuple(_adapter_name(text) for text in self.values.get("lora_modules") or ())


def read(env: Environment, snapshot: Snapshot) -> Options:
    """Read every setting, and add what is worked out from the machine.

    Raises:
        SettingsError: with every problem found.
    """
    problems: list[Problem] = []
    translated = translate(env, snapshot.table.by_variable)
    settings = _collect(problems, lambda: VLLMSettings.load(translated)) or VLLMSettings()
    values = dict(_collect(problems, lambda: snapshot.table.read(translated)) or {})
    older = _collect(problems, lambda: SpeculativeSettings.load(translated))
    extra, in_extra = _extra(settings.vllm_extra_args, snapshot, problems)
    in_file = _config_file(settings.vllm_config_file, snapshot, problems)
    if "VLLM_API_KEY" in env and not {"API_KEYS", "API_KEYS_FILE"} & env.keys():
        # Ignored, it would leave a server open that is believed to be locked.
        problems.append(
            Problem("VLLM_API_KEY", "keys are checked by the door; set API_KEYS", env.source("VLLM_API_KEY"))
        )
    if problems:
        raise SettingsError(problems)
    for name, advice in DroppedSettings(snapshot.table.by_variable).names.items():
        if name in env:
            logger.warning("%s (from %s) is ignored: %s", name, env.source(name), advice)
    if older is not None and (config := older.as_config()):
        values.setdefault("speculative_config", config)
    elsewhere = in_extra | in_file
    for name, value in _worked_out(values).items():
        if name not in elsewhere:
            values.setdefault(name, value)
    return Options(settings, snapshot.table, values, tuple(extra))


def _worked_out(values: Mapping[str, Any]) -> dict[str, Any]:
    """What is set where the user has not."""
    found: dict[str, Any] = {"gpu_memory_utilization": GPU_MEMORY_UTILIZATION, "disable_uvicorn_access_log": True}
    others = values.get("pipeline_parallel_size", 1) * values.get("data_parallel_size", 1)
    if (each := gpus.count(os.environ) // max(others, 1)) > 1:
        found["tensor_parallel_size"] = each
    if values.get("lora_modules"):
        found["enable_lora"] = True
    return found


def _collect(problems: list[Problem], load: Any) -> Any:
    try:
        return load()
    except SettingsError as error:
        problems += error.problems
        return None


def _extra(text: str, snapshot: Snapshot, problems: list[Problem]) -> tuple[list[str], set[str]]:
    """The words of VLLM_EXTRA_ARGS and the names of the flags among them."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        problems.append(Problem("VLLM_EXTRA_ARGS", f"cannot be read as a command line: {error}"))
        return [], set()
    given = (word.partition("=")[0] for word in words if word.startswith("--"))
    return words, _known(given, "VLLM_EXTRA_ARGS", snapshot, problems)


def _config_file(path: str | None, snapshot: Snapshot, problems: list[Problem]) -> set[str]:
    """The names of the flags in VLLM_CONFIG_FILE."""
    if path is None:
        return set()
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        problems.append(Problem("VLLM_CONFIG_FILE", f"cannot read {path}: {error}"))
        return set()
    if not isinstance(content, dict):
        problems.append(Problem("VLLM_CONFIG_FILE", f"{path} must hold a mapping of flags to values"))
        return set()
    return _known((f"--{key}" for key in content), "VLLM_CONFIG_FILE", snapshot, problems)


def _known(given: Iterable[str], variable: str, snapshot: Snapshot, problems: list[Problem]) -> set[str]:
    """The names of these flags; those that vLLM does not have or that are not the user's become problems."""
    spelled = _by_spelling(snapshot.all_flags.flags)
    names = set()
    for flag in given:
        # vLLM takes `_` for `-`, and `--flag.key` for one key of a flag that is JSON.
        flag = "--" + flag[2:].split(".")[0].replace("_", "-")
        name = spelled.get(flag)
        if name is None:
            meant = suggest(flag, spelled)
            hint = f"; did you mean {meant}?" if meant else ""
            problems.append(Problem(variable, f"{flag} is no flag of vLLM {snapshot.table.version}{hint}"))
        elif name in OURS:
            problems.append(Problem(variable, f"{flag} is this worker's to give{_INSTEAD.get(name, '')}"))
        else:
            names.add(name)
    return names


_INSTEAD = {
    "api_key": "; API keys are checked by the door",
    "hf_token": "; set HF_TOKEN",
    "host": "; set HOST",
    "model": "; set MODEL_NAME",
    "port": "; set PORT",
    "served_model_name": "; set OPENAI_SERVED_MODEL_NAME_OVERRIDE",
}


def _by_spelling(flags: Iterable[Flag]) -> dict[str, str]:
    return {spelling: flag.name for flag in flags for spelling in (*flag.flags, flag.negative) if spelling is not None}


def _adapter_name(text: str) -> str:
    if text.lstrip().startswith("{"):
        import json

        return str(json.loads(text).get("name", ""))
    return text.partition("=")[0]
