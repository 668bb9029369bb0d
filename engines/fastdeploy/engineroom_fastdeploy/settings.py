"""FastDeploy's settings: which build, its flags and variables by version, and the names of worker-FastDeploy."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from pydantic import Field

from engineroom.errors import Problem, Problems, SettingsError
from engineroom.models import HubSettings
from engineroom.server import EnginePython
from engineroom.settings import (
    CommaList,
    Environment,
    Flag,
    FlagsAside,
    FlagTable,
    Setting,
    UsualSetting,
    dropped,
    read_mapping,
)
from engineroom.settings import usual_settings as usual

from . import limits
from .installed import FASTDEPLOY, SNAPSHOTS, find, minor, snapshots

logger = logging.getLogger(__name__)

_PROFILED = 8192

_OF_THE_WORKER = "the worker chooses a free port for it; remove it"

ASIDE = FlagsAside(
    "FastDeploy's flags that the worker gives",
    {
        **dict.fromkeys(("API_KEY", "HOST", "MAX_CONCURRENCY", "METRICS_PORT", "MODEL", "PORT", "SERVED_MODEL_NAME")),
        **dropped(dict.fromkeys(("CACHE_QUEUE_PORT", "ENGINE_WORKER_QUEUE_PORT"), _OF_THE_WORKER)),
    },
)
"""Flags of FastDeploy that are no setting: the worker chooses them, or the variable means something of the door."""

USUAL_SETTINGS: Mapping[UsualSetting, str] = {
    usual.CONTEXT_LENGTH: "MAX_MODEL_LEN",
    usual.PARALLEL_REQUESTS: "MAX_NUM_SEQS",
    usual.BATCH_TOKENS: "MAX_NUM_BATCHED_TOKENS",
    usual.GPU_MEMORY: "GPU_MEMORY_UTILIZATION",
    usual.TENSOR_PARALLEL: "TENSOR_PARALLEL_SIZE",
    usual.QUANTISATION: "QUANTIZATION",
    usual.MODEL_REVISION: "REVISION",
    usual.TOKENIZER: "TOKENIZER",
    usual.CHAT_TEMPLATE: "CHAT_TEMPLATE",
}
DEFAULTS = {"MODEL_NAME": "baidu/ERNIE-4.5-0.3B-Paddle", "MAX_CONCURRENCY": "512"}
"""Those of worker-FastDeploy's defaults that are not FastDeploy's own; its names are among the common ones."""


class FastDeploySettings(HubSettings):
    """Which FastDeploy runs, and how it is looked after."""

    title: ClassVar[str] = "FastDeploy"

    fastdeploy_python: str | None = Field(
        None, description="The Python that FastDeploy is installed in; this one or the system's by default."
    )
    fastdeploy_version: str | None = Field(
        None, description="FastDeploy's version (`2.5`), for a source checkout without metadata."
    )
    fastdeploy_config: Path | None = Field(
        None,
        description="A YAML file of more options by FastDeploy's own names, for what a newer version has; "
        "it ignores names that it does not know.",
    )
    fastdeploy_sm: CommaList = Field(
        (),
        description="Compute capabilities that the build carries (`86,89`); by default those of the image around it.",
    )
    fastdeploy_checks: bool = Field(True, description="Whether GPU, driver and Paddle are checked before the start.")
    fastdeploy_idle_timeout: float = Field(
        600, gt=0, description="Seconds without output during a request, after which it fails with a 504."
    )


class FastDeployVariables:
    """FastDeploy's own environment variables: known, so that a configuration file may hold them, and passed on."""

    title = "FastDeploy's variables"

    def __init__(self) -> None:
        self._names = (SNAPSHOTS / "environment.txt").read_text().split()

    def describe(self) -> Sequence[Setting]:
        return [Setting(name, secret=name in ("FD_API_KEY", "ENCODE_FEATURE_BOS_SK")) for name in self._names]

    def read(self, env: Environment) -> dict[str, str]:
        """Those that are set, wherever they were set."""
        return {name: env[name] for name in self._names if name in env}


class OtherVersions:
    """Flags that only other versions of FastDeploy have; known, so that none is taken for a mistyped name."""

    title = "FastDeploy's other versions"

    def __init__(self, table: FlagTable) -> None:
        self._table = table

    def flags(self) -> dict[str, tuple[str, Flag]]:
        """Variable -> the newest version that has its flag, and the flag."""
        return {
            flag.variable: (other.version, flag)
            for other in snapshots().values()
            for flag in other.flags
            if flag.variable not in self._table.by_variable and flag.variable not in ASIDE.answers
        }

    def describe(self) -> Sequence[Setting]:
        return [Setting(name, help=f"FastDeploy {version} has it.") for name, (version, _) in self.flags().items()]


def running_version(env: Environment) -> tuple[tuple[int, int] | None, EnginePython]:
    """Which FastDeploy will run, None where nothing tells; and the Python that it is in.

    Raises:
        SettingsError: FASTDEPLOY_VERSION is no version.
    """
    python = find(env.get("FASTDEPLOY_PYTHON"))
    version = env.get("FASTDEPLOY_VERSION") or python.version(*FASTDEPLOY)
    try:
        return (minor(version) if version else None), python
    except ValueError:
        problem = Problem("FASTDEPLOY_VERSION", f"expected a version such as 2.5; got {version!r}")
        raise SettingsError([problem]) from None


def table_of(version: tuple[int, int] | None) -> FlagTable:
    """The flags of a version that are settings; the newest known version's for a newer or unknown one."""
    known = snapshots()
    table = known.get(version or max(known)) or known[max(known)]
    flags = tuple(limits.limited(flag) for flag in table.without(ASIDE).flags)
    return msgspec.structs.replace(table, flags=flags)


def read_flags(env: Environment, version: tuple[int, int], problems: Problems) -> dict[str, Any]:
    """The options to run with, by FastDeploy's names.

    A value that means what FastDeploy does anyway is left out where this version lacks its flag, and so is
    worker-FastDeploy's `QUANTIZATION=BF16`, which no version accepts: each with a warning.

    Args:
        problems: values that FastDeploy would refuse, alone or together, and flags that only other versions have are
            added here.
    """
    table = table_of(version)
    nothing = {"QUANTIZATION"} if env.get("QUANTIZATION", "").upper() == "BF16" else set()
    for name, (other, flag) in OtherVersions(table).flags().items():
        if name not in env:
            continue
        if env[name].lower() == flag.default:
            nothing.add(name)
        else:
            message = f"FastDeploy {table.version} has no {flag.flags[0]} ({other} does); remove it"
            problems.add(name, message, env.source(name))
    for name in sorted(nothing):
        logger.warning("%s=%s is ignored: FastDeploy %s would refuse it", name, env[name], table.version)
    values = table.read_valid(env, problems, without=sorted(nothing))
    wrong = {flag.name for variable, flag in table.by_variable.items() if variable in env} - {*values}
    problems.extend(limits.problems(values, wrong, env))
    # A switch that is off has no value that means so: any text for this one counts as on.
    values = {
        name: value for name, value in values.items() if value is not False or table.by_variable[name.upper()].negative
    }
    # As worker-FastDeploy does: the profile run is else for 8192 tokens, which a small GPU may not have room for.
    if values.get("max_model_len", _PROFILED) < _PROFILED:
        values.setdefault("max_num_batched_tokens", values["max_model_len"])
    # The door limits how much runs at once; beyond this FastDeploy answers 429.
    jobs = env.get("MAX_CONCURRENCY", "")
    values["max_concurrency"] = max(2048, 2 * int(jobs) if jobs.isdecimal() else 0)
    return values


def read_file(env: Environment) -> dict[str, Any]:
    """The options in FASTDEPLOY_CONFIG; none where it is not set.

    Raises:
        SettingsError: it cannot be read.
    """
    name = env.get("FASTDEPLOY_CONFIG")
    values = read_mapping(Path(name), "FASTDEPLOY_CONFIG") if name else {}
    return {key.replace("-", "_"): value for key, value in values.items()}
