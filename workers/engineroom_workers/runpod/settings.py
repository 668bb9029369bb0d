"""The queue door's settings, under the names that users of RunPod's own LLM worker know."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Literal, TypeAlias

from pydantic import AliasChoices, Field, field_validator

from engineroom.jobs import BatchingOptions, JobDefaults, OutputFormat
from engineroom.settings import OtherName, Settings, refused

LEVELS: Mapping[str, JobDefaults] = MappingProxyType(
    {
        "worker-vllm-2.23": JobDefaults("choices", 100),
        "worker-vllm-2.28": JobDefaults("openai", None),
    }
)
"""COMPATIBILITY -> what it sets."""

HandBack: TypeAlias = Literal["wait", "half_close"]


class RunPodSettings(Settings):
    """How jobs are taken from a RunPod queue and answered."""

    title: ClassVar[str] = "RunPod queue door"
    other_names: ClassVar[Mapping[str, OtherName]] = {
        **refused(
            "MAX_CONCURRENCY",
            "jobs that are worked on at the same time",
            ("CONCURRENCY", "CONCURRENT_JOBS", "MAX_CONCURRENT_JOBS", "MAX_JOBS_IN_PROGRESS", "RUNPOD_MAX_CONCURRENCY"),
        ),
        **refused("NATIVE_OUTPUT_FORMAT", "choices, output or openai", ("NATIVE_FORMAT", "NATIVE_OUTPUT")),
        **refused(
            "COMPATIBILITY", "worker-vllm-2.23 or worker-vllm-2.28", ("COMPATIBILITY_LEVEL", "COMPATIBILITY_VERSION")
        ),
        **refused("RAW_OPENAI_OUTPUT", "true or false", ("OPENAI_OUTPUT", "RAW_OUTPUT")),
    }

    max_concurrency: int = Field(30, ge=1, description="Jobs that run at the same time.")
    default_batch_size: int | None = Field(
        None,
        ge=1,
        description="Tokens per item of a stream, after its first items. Default: everything generated since the last "
        "item was sent, which suits every network and load.",
    )
    min_batch_size: int | None = Field(
        None,
        ge=1,
        validation_alias=AliasChoices("DEFAULT_MIN_BATCH_SIZE", "MIN_BATCH_SIZE"),
        description="Tokens in the first item of a stream, if batch sizes are in use. Default: 1.",
    )
    batch_size_growth_factor: float | None = Field(
        None,
        ge=1,
        validation_alias=AliasChoices("DEFAULT_BATCH_SIZE_GROWTH_FACTOR", "BATCH_SIZE_GROWTH_FACTOR"),
        description="How many times larger each item is than the one before, if batch sizes are in use. Default: 3.",
    )
    raw_openai_output: bool = Field(
        True,
        description="Whether the items of an OpenAI stream are server-sent events as text, which RunPod's OpenAI route "
        "needs; otherwise each item is a list of the events' objects.",
    )
    compatibility: Literal["worker-vllm-2.23", "worker-vllm-2.28"] = Field(
        "worker-vllm-2.23",
        description="The version of RunPod's own LLM worker whose native jobs these are: one up to 2.23, or one since "
        "2.24. It decides NATIVE_OUTPUT_FORMAT (`choices`, then `openai`) and NATIVE_MAX_TOKENS (100, then 0). Other "
        "versions count as one of the two.",
    )
    native_output_format: OutputFormat | None = Field(
        None,
        description="The format of a native job's output: `choices` for `choices[].tokens`, `openai` for OpenAI's JSON "
        "and events, or `output` for objects with `text`, `finish_reason` and `tokens`. A job's own `output_format` "
        "takes precedence. Default: as COMPATIBILITY says.",
    )
    native_max_tokens: int | None = Field(
        None,
        ge=0,
        description="The most tokens of a native job that does not say; 0 leaves it to the engine, as at any other "
        "route. Default: as COMPATIBILITY says.",
    )
    unknown_fields: Literal["refuse", "warn"] = Field(
        "refuse",
        description="What becomes of a job with a field that nobody knows: `refuse` it, with the name that may be "
        "meant; or `warn` of it in the log, and serve the job without the field.",
    )
    job_errors: Literal["completed", "failed"] = Field(
        "completed",
        description="The state of a job that ends in an error: `completed`, with OpenAI's error object as its output, "
        "which reaches OpenAI clients in full; or `failed`, which RunPod's OpenAI route turns into a bare "
        "500.",
    )
    failed_start_timeout: float = Field(
        60,
        ge=0,
        description="Seconds for which a worker that cannot start takes jobs all the same, and fails each with the "
        "reason, before it exits; 0 exits at once, and the jobs stay in the queue.",
    )
    hand_back: HandBack = Field(
        "wait",
        description="What becomes of the poll for jobs that is under way at SIGTERM: `wait` until the platform ends "
        "it, at most for DRAIN_TIMEOUT, which loses no job; or `half_close` its connection at once, which ends an idle "
        "worker sooner, and loses a job where a proxy closes the other half or the platform does not look.",
    )
    job_loop: Literal["engineroom", "sdk"] = Field(
        "engineroom",
        description="What takes the jobs: `engineroom`, or `sdk` for the loop in RunPod's SDK, which is slower and may "
        "lose jobs on SIGTERM.",
    )

    @field_validator("compatibility", mode="before")
    @classmethod
    def _level_of_a_version(cls, value: object) -> object:
        """The level that a version belongs to: the jobs changed with 2.24."""
        version = re.fullmatch(r"worker-vllm-v?(\d+)\.(\d+)(\.\d+)?", str(value).strip().lower())
        if version is None:
            return value
        return "worker-vllm-2.23" if (int(version[1]), int(version[2])) < (2, 24) else "worker-vllm-2.28"

    @property
    def job_defaults(self) -> JobDefaults:
        """What counts where a job does not say."""
        level = LEVELS[self.compatibility]
        max_tokens = level.max_tokens if self.native_max_tokens is None else self.native_max_tokens or None
        return JobDefaults(self.native_output_format or level.output_format, max_tokens, self.unknown_fields)

    @property
    def batching(self) -> BatchingOptions:
        """The batch sizes of jobs that do not ask for their own."""
        return BatchingOptions(
            max_batch_size=self.default_batch_size,
            min_batch_size=self.min_batch_size,
            batch_size_growth_factor=self.batch_size_growth_factor,
        )
