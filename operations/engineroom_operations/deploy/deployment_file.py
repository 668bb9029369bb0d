"""The deployment file: `engineroom.yaml`, or a `llm_config.json` of runpod-llm-manager."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import Self

from engineroom.errors import Problem, SettingsError
from engineroom.settings import read_mapping, suggest

from . import llm_config

USUAL_NAMES = ("engineroom.yaml", "engineroom.yml", "llm_config.json")
"""Files that are read where none is named, the first that is there."""

Kind: TypeAlias = Literal["pod", "queue", "load-balancer", "auto"]


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _as_text(value: object) -> object:
    """A number or a boolean of YAML, as an environment variable would carry it."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float)) else value


Texts: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_as_list)]
Text: TypeAlias = Annotated[str, BeforeValidator(_as_text)]
Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


class FileSection(BaseModel):
    """A part of the file. An unknown field is an error, so that none is ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class CpuSection(FileSection):
    """A flavour of RunPod's CPUs instead of a GPU, and how many vCPUs of it."""

    id: str
    vcpus: int = Field(4, ge=2)


class WorkersSection(FileSection):
    """How few and how many workers an endpoint has; after how many idle seconds one ends."""

    min: int = Field(0, ge=0)
    max: int = Field(3, ge=0)
    idle_timeout: int = Field(10, ge=1, le=3600)

    @model_validator(mode="after")
    def _min_is_not_above_max(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min ({self.min}) is greater than max ({self.max})")
        return self


class ScalingSection(FileSection):
    """When another worker starts: where a request waits for so many seconds, or for so many requests a worker."""

    queue_delay: float | None = Field(None, ge=0.5)
    request_count: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.queue_delay is None) == (self.request_count is None):
            raise ValueError("give queue_delay or request_count, one of them")
        return self


class VolumeSection(FileSection):
    """A network volume for models and compiled code: made where there is none of that name, and never deleted."""

    name: Name
    size: int = Field(50, ge=10, le=4096)
    data_center: str | None = None
    type: Literal["STANDARD", "HIGH_PERFORMANCE"] | None = None


class RegistrySection(FileSection):
    """Credentials for a private registry; `password_from` names a variable, so that no file holds the password."""

    name: Name
    username: str | None = None
    password_from: str | None = None


class DeploymentFile(FileSection):
    """What is deployed, and where."""

    name: Name | None = None
    kind: Kind = "queue"
    model: str | None = None
    engine: str | None = None
    image: str | None = None
    cuda: Text = ""
    gpu: Texts = ()
    gpu_count: int | None = Field(None, ge=1)
    cpu: CpuSection | None = None
    cloud: Literal["SECURE", "COMMUNITY"] = "SECURE"
    data_centers: Texts = ()
    disk: int | None = Field(None, ge=1)
    workers: WorkersSection = WorkersSection()
    scaling: ScalingSection | None = None
    flashboot: Literal["OFF", "FLASHBOOT", "PRIORITY_FLASHBOOT"] = "FLASHBOOT"
    timeout: int = Field(600, ge=1, le=86_400)
    volume: VolumeSection | None = None
    registry: RegistrySection | None = None
    template: bool | str = True
    env: dict[str, Text] = {}
    secrets: Texts = ()
    traffic: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _takes_yaml_words(cls, values: Any) -> Any:
        """YAML reads `off` and `on` as booleans."""
        if isinstance(values, dict) and isinstance(values.get("flashboot"), bool):
            values = {**values, "flashboot": "FLASHBOOT" if values["flashboot"] else "OFF"}
        return values

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.cpu is not None and self.gpu:
            raise ValueError("gpu and cpu exclude each other")
        if self.image is not None and self.cuda:
            raise ValueError("image and cuda exclude each other: cuda chooses among our images")
        place = self.volume.data_center if self.volume is not None else None
        if place is not None and self.data_centers and place not in self.data_centers:
            raise ValueError(f"volume.data_center is {place}, which is none of data_centers")
        if self.kind == "load-balancer" and self.scaling is not None and self.scaling.request_count is None:
            raise ValueError("scaling: a load-balancing endpoint scales by request_count only")
        return self


def read_deployment_file(path: Path | None, overrides: Mapping[str, Any], directory: Path) -> DeploymentFile:
    """The file, with what the command line says instead.

    Args:
        path: the file; where it is None, one of the usual names in `directory`, or no file at all.
        overrides: fields of the command line; None counts as not given.

    Raises:
        SettingsError: with every field that is wrong.
    """
    if path is None:
        path = next((directory / name for name in USUAL_NAMES if (directory / name).is_file()), None)
    values: dict[str, Any] = {}
    if path is not None:
        values = read_mapping(path, "the deployment file")
        if llm_config.is_one(values):
            values = llm_config.converted(values, str(path))
    given = {name: value for name, value in overrides.items() if value is not None}
    for one, other in (("gpu", "cpu"), ("cpu", "gpu")):
        if one in given:
            values.pop(other, None)
    values.update(given)
    try:
        return DeploymentFile.model_validate(values)
    except ValidationError as error:
        source = str(path or "command line")
        raise SettingsError([_problem(dict(each), source) for each in error.errors(include_url=False)]) from None


def _problem(detail: Mapping[str, Any], source: str) -> Problem:
    where = ".".join(str(part) for part in detail["loc"]) or "the deployment file"
    message = str(detail["msg"]).removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        near = suggest(where, list(DeploymentFile.model_fields))
        hint = f"; did you mean {near}?" if near else f"; there are {', '.join(DeploymentFile.model_fields)}"
        message = f"there is no such field{hint}"
    elif detail["type"] == "string_pattern_mismatch":
        message = "must be letters, digits, `.`, `_` and `-`, at most 63, and begin with a letter or digit"
    return Problem(where, message, source)
