"""The Ray Serve door's own settings."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, ValidationInfo, field_validator

from engineroom.errors import Problem, SettingsError
from engineroom.settings import Settings


class RaySettings(Settings):
    """How many replicas Ray Serve runs, and what each of them needs."""

    title: ClassVar[str] = "Ray Serve door"

    ray_address: str | None = Field(
        None,
        description="The Ray cluster that `engineroom ray` deploys to: `auto` for the one that runs here, or "
        "`HOST:6379`. Default: one of its own on this machine, which ends with it.",
    )
    replicas: int = Field(
        1, ge=0, description="Replicas, each with an engine of its own. With MAX_REPLICAS the fewest, and 0 is allowed."
    )
    max_replicas: int | None = Field(
        None,
        ge=1,
        description="The most replicas: Ray Serve adds and removes some as the number of running requests asks for. "
        "Default: always REPLICAS.",
    )
    gpus_per_replica: float | None = Field(
        None,
        ge=0,
        description="GPUs that each replica gets, or a part of one. Default: as many as the engine's settings for "
        "tensor, pipeline and data parallelism ask for; without any, 1 where the cluster has GPUs.",
    )
    cpus_per_replica: float = Field(1, ge=0, description="CPU cores that Ray sets aside for each replica.")

    @field_validator("max_replicas")
    @classmethod
    def _is_not_less_than_the_fewest(cls, value: int | None, others: ValidationInfo) -> int | None:
        fewest = others.data.get("replicas", 0)
        if value is not None and value < fewest:
            raise ValueError(f"must be at least REPLICAS, which is {fewest}")
        return value

    @field_validator("gpus_per_replica")
    @classmethod
    def _is_whole_above_one(cls, value: float | None) -> float | None:
        if value is not None and value > 1 and value != int(value):
            raise ValueError("must be a whole number, or a part of one GPU")
        return value

    def check(self) -> None:
        """Raises SettingsError where there would never be a replica."""
        if self.replicas == 0 and self.max_replicas is None:
            message = "0 replicas serve nothing: set MAX_REPLICAS, too, and one is started when a request comes"
            raise SettingsError([Problem("REPLICAS", message)])
