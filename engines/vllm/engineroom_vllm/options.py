"""From the environment to `vllm serve`'s command line, everything checked that can be without vLLM."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engineroom.adapters import AdapterSettings
from engineroom.errors import Problem, Problems, SettingsError
from engineroom.hardware import gpus
from engineroom.settings import Environment, FlagTable, read_mapping, suggest

from . import pairs
from .settings import VLLMSettings
from .snapshots import ASIDE, DEFAULTS, VersionSnapshot
from .worker_vllm import SpeculativeSettings, translate

_INSTEAD = {
    "ALLOWED_ORIGINS": "; set CORS_ORIGINS",
    "API_KEY": "; API keys are checked by the door",
    "HF_TOKEN": "; set HF_TOKEN",
    "HOST": "; set HOST",
    "LOG_LEVEL": "; set LOG_LEVEL",
    "MODEL": "; set MODEL_NAME",
    "PORT": "; set PORT",
    "SERVED_MODEL_NAME": "; set OPENAI_SERVED_MODEL_NAME_OVERRIDE",
    "SSL_CERTFILE": "; set UVICORN_SSL_CERTFILE",
    "SSL_KEYFILE": "; set UVICORN_SSL_KEYFILE",
    **{variable: f"; {answer.remedy}" for variable, answer in ASIDE.other_names.items()},
}
"""Flags that the worker gives, by their variables -> what the user may set instead."""


LORAS = 4
"""Adapters in one batch, where clients ask for them by name. With vLLM's default of 1 different adapters take turns."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What `vllm serve` is started with.

    values: parsed flags by name, to be written as `table` says.
    adapters: those that are loaded when a client asks for them.
    extra: the end of the command line, as the user wrote it.
    elsewhere: the flags that `extra` and the configuration file have, by name.
    """

    settings: VLLMSettings
    table: FlagTable
    values: Mapping[str, Any]
    adapters: AdapterSettings
    extra: tuple[str, ...] = ()
    elsewhere: frozenset[str] = frozenset()

    @property
    def argv(self) -> list[str]:
        config = self.settings.vllm_config_file
        return [*(("--config", config) if config else ()), *self.table.argv(self.values), *self.extra]

    @property
    def follower(self) -> bool:
        """Whether it is a node that computes for another one, without an API of its own."""
        return bool(self.values.get("headless"))

    @property
    def one_machine(self) -> bool:
        """Whether no other machine computes for this node: there its files would be at other places."""
        replicas = self.values.get("data_parallel_size", 1)
        return bool(
            self.values.get("nnodes", 1) == 1 and self.values.get("data_parallel_size_local", replicas) == replicas
        )

    @property
    def head(self) -> str:
        """The address of the node that a follower computes for."""
        parallel = self.values.get("data_parallel_size", 1) > 1
        named = self.values.get("data_parallel_address") if parallel else None
        return str(named or self.values.get("master_addr", "127.0.0.1"))

    @property
    def lora_names(self) -> tuple[str, ...]:
        """The names of the adapters that are there from the start."""
        return tuple(_adapter_name(text) for text in self.values.get("lora_modules") or ())

    @property
    def lora_capacity(self) -> int:
        """How many more adapters vLLM keeps in memory. Beyond that it would read one from its files again whenever it
        is used, amid the work for everybody else."""
        kept = self.values.get("max_cpu_loras") or self.values.get("max_loras", 1)
        return max(1, int(kept) - len(self.lora_names))


def read(env: Environment, snapshot: VersionSnapshot) -> ServeOptions:
    """Read every setting, and add what is worked out from the machine.

    Raises:
        SettingsError: with every problem found.
    """
    problems = Problems()
    translated = translate(env)
    settings = problems.collect(lambda: VLLMSettings.load(translated), VLLMSettings())
    values = snapshot.table.read_valid(translated, problems)
    wrong = {flag.name for variable, flag in snapshot.table.by_variable.items() if variable in translated} - {*values}
    adapters = problems.collect(lambda: AdapterSettings.load(translated), AdapterSettings())
    speculative = problems.collect(lambda: SpeculativeSettings.load(translated), SpeculativeSettings())
    extra: list[str] = problems.collect(lambda: _words(settings.vllm_extra_args), [])
    flags_of_extra = [word.partition("=")[0] for word in extra if word.startswith("--")]
    elsewhere = _checked_flags(flags_of_extra, "VLLM_EXTRA_ARGS", snapshot, problems)
    if settings.vllm_config_file is not None:
        file = Path(settings.vllm_config_file)
        content: dict[str, Any] = problems.collect(lambda: read_mapping(file, "VLLM_CONFIG_FILE"), {})
        elsewhere |= _checked_flags([f"--{key}" for key in content], "VLLM_CONFIG_FILE", snapshot, problems)
    speculative_config = speculative.as_config()
    if speculative_config is not None:
        values.setdefault("speculative_config", speculative_config)
    for name, value in _worked_out(values, snapshot.table, adapters).items():
        if name not in elsewhere:
            values.setdefault(name, value)
    problems.extend(pairs.problems(values, elsewhere | wrong, translated))
    if adapters.in_use:
        problems.extend(pairs.adapter_problems(values, elsewhere, translated))
    problems.check()
    return ServeOptions(settings, snapshot.table, values, adapters, tuple(extra), frozenset(elsewhere))


def _worked_out(values: Mapping[str, Any], table: FlagTable, adapters: AdapterSettings) -> dict[str, Any]:
    """What is set where the user has not."""
    defaults = table.read(Environment.of({name.upper(): text for name, text in DEFAULTS.items()}))
    parallel = gpus.tensor_parallel(os.environ, values)
    if parallel > 1:
        defaults["tensor_parallel_size"] = parallel
    if values.get("lora_modules") or adapters.in_use:
        defaults["enable_lora"] = True
    if adapters.in_use:
        defaults["max_loras"] = LORAS
        if values.get("data_parallel_size", 1) > 1:
            defaults["api_server_count"] = 1  # With more of them vLLM loads no adapters while it runs.
    if values.get("node_rank", 0) > 0 and values.get("data_parallel_size", 1) == 1:
        defaults["headless"] = True  # Of such nodes only the first has an API.
    return defaults


def _words(text: str) -> list[str]:
    """The words of VLLM_EXTRA_ARGS. Raises SettingsError."""
    try:
        return shlex.split(text)
    except ValueError as error:
        problem = Problem("VLLM_EXTRA_ARGS", f"cannot be read as a command line: {error}")
        raise SettingsError([problem]) from error


def _checked_flags(flags: Iterable[str], variable: str, snapshot: VersionSnapshot, problems: Problems) -> set[str]:
    """The names of these flags; those that vLLM does not have, or that are not the user's, become problems.

    Args:
        variable: the setting that they stand in.
    """
    spellings = {
        spelling: flag.name
        for flag in snapshot.all_flags.flags
        for spelling in (*flag.flags, flag.negative)
        if spelling is not None
    }
    names = set()
    for written in flags:
        # vLLM takes `_` for `-`, and `--flag.key` for one key of a flag that is JSON.
        flag = "--" + written[2:].split(".")[0].replace("_", "-")
        name = spellings.get(flag)
        if name is None:
            near_miss = suggest(flag, spellings)
            hint = f"; did you mean {near_miss}?" if near_miss else ""
            problems.add(variable, f"{flag} is not a flag of vLLM {snapshot.table.version}{hint}")
        elif name.upper() in ASIDE.answers:
            problems.add(variable, f"{flag} is set by the worker{_INSTEAD[name.upper()]}")
        else:
            names.add(name)
    return names


def _adapter_name(text: str) -> str:
    """The name in one of LORA_MODULES: a JSON object, or `name=path`."""
    if text.lstrip().startswith("{"):
        return str(json.loads(text).get("name", ""))
    return text.partition("=")[0]
