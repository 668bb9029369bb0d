"""The bodies of network volumes, registries, delegations and SSH keys."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from .base import Name, ReceivedBody

GigaBytes = Annotated[int, Field(ge=10, le=4096)]
SshKey = Annotated[str, StringConstraints(pattern=r"^(ssh|ecdsa|sk)-[^\s]+ [^\s]+([ \t][^\n\r]*)?$")]


class VolumeCreation(ReceivedBody):
    name: Name
    size: GigaBytes
    data_center: Name
    type: Literal["STANDARD", "HIGH_PERFORMANCE"] = "STANDARD"


class VolumeChange(ReceivedBody):
    name: Name = "-"
    size: GigaBytes = 10

    @model_validator(mode="after")
    def _changes_something(self) -> VolumeChange:
        if not self.model_fields_set:
            raise ValueError("at least one of name and size must be there")
        return self


class RegistryCreation(ReceivedBody):
    name: Name
    username: Name
    password: Name


class DelegationCreation(ReceivedBody):
    resource: str
    name: str | None = None


class SshKeyFields(ReceivedBody):
    keys: list[SshKey]
