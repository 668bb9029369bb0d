"""The settings of a worker with several models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from pydantic import Field, SecretStr

from ..settings.base import Setting, Settings
from ..settings.other_names import OtherName, doubted


class ResidenceSettings(Settings):
    """Which models a worker has, and how they share it."""

    title: ClassVar[str] = "Several models"
    other_names: ClassVar[Mapping[str, OtherName]] = {
        **doubted("MODELS", "a file with the models, or the models themselves", ("MODELS_FILE", "MODELS_CONFIG")),
        **doubted("MODELS_MEMORY_GB", "a number of GB", ("MODELS_MEMORY", "MODELS_MEMORY_MB")),
    }

    @classmethod
    def describe(cls) -> Sequence[Setting]:
        # A table may have the keys of servers in it.
        return [replace(setting, secret_in_text=setting.name == "MODELS") for setting in super().describe()]

    models: SecretStr | None = Field(
        None,
        description="Several models instead of one: a YAML or JSON file with a list of them, or the list itself. In a "
        "file that ENGINEROOM_CONFIG names it is the section `models`. docs/models.md has what stands in it.",
    )
    models_memory_gb: float | None = Field(
        None,
        gt=0,
        description="Memory in GB that all loaded models may take together. Default: what is free when the worker "
        "starts, on its GPUs where it has some, else of the machine or the container.",
    )
    models_max_wait: float = Field(
        30,
        ge=0,
        description="Seconds after which a request for a model that is not loaded comes before later ones: models that "
        "have to go for its model get no more requests, end what they are at, and are unloaded.",
    )
    models_queue_timeout: float = Field(
        1200,
        gt=0,
        description="Seconds that a request may wait for its model in all. After that it is refused with a 503.",
    )
    models_queue_length: int = Field(
        1000, ge=1, description="Requests that may wait for models; one more is refused with a 503."
    )
