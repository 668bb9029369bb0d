"""The bodies of pods."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from .base import Count, CudaVersion, Name, ReceivedBody
from .container import ContainerFields, CpuFields, MountFields


class PodGpuFields(ReceivedBody):
    """GPUs of one type."""

    id: str
    count: Count = 1
    allowed_cuda_versions: list[CudaVersion] = []
    min_cuda_version: CudaVersion = "0.0"


class PodCreation(ContainerFields):
    """A pod needs a name, and an image of its own or of a template."""

    name: Name
    cloud: Literal["SECURE", "COMMUNITY"] = "SECURE"
    cpu: CpuFields = CpuFields(id="-", vcpuCount=2)
    data_center_ids: list[str] = []
    global_networking: bool = False
    gpu: PodGpuFields = PodGpuFields(id="-")
    mounts: MountFields = MountFields()
    start_jupyter: bool = False
    start_ssh: bool = False
    template_id: Name = "-"

    @model_validator(mode="after")
    def _has_an_image(self) -> PodCreation:
        if not self.model_fields_set & {"image", "template_id"}:
            raise ValueError("image: it is required where there is no templateId")
        return self


class PodChange(ContainerFields):
    """What may be changed; what a client leaves out stays."""

    name: Name = "-"
    global_networking: bool = False
    locked: bool = False
    mounts: MountFields = MountFields()
    template_id: str = ""


class PodActionFields(ReceivedBody):
    action: Literal["start", "stop", "restart", "terminate"]
