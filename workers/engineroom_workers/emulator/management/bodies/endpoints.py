"""The bodies of serverless endpoints."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from .base import Count, CudaVersion, Name, ReceivedBody, unique
from .container import ContainerFields, CpuFields

FlashBoot: TypeAlias = Literal["OFF", "FLASHBOOT", "PRIORITY_FLASHBOOT"]
EndpointType: TypeAlias = Literal["QUEUE", "LOAD_BALANCER"]


class QueueDelayFields(ReceivedBody):
    """More workers where requests wait longer than this many seconds."""

    type: Literal["QUEUE_DELAY"]
    queue_delay: Annotated[float, Field(ge=0.5)]


class RequestCountFields(ReceivedBody):
    """One worker for this many requests."""

    type: Literal["REQUEST_COUNT"]
    request_count: Count


Scaling = Annotated[QueueDelayFields | RequestCountFields, Field(discriminator="type")]
ExcludedType = Annotated[str, StringConstraints(pattern=r"^\s*[^-\s]")]
CpuChoice = Annotated[list[CpuFields], Field(min_length=1), AfterValidator(unique)]


class GpuPoolFields(ReceivedBody):
    """The pools of GPUs that workers may run on, less some types, and how many each has."""

    pools: Annotated[list[str], Field(min_length=1)] = ["-"]
    excluded_types: Annotated[list[ExcludedType], AfterValidator(unique)] = []
    count: Count = 1
    allowed_cuda_versions: list[CudaVersion] = []
    min_cuda_version: Annotated[str, StringConstraints(pattern=r"^$|^\d+\.\d+$")] = ""

    @model_validator(mode="after")
    def _excludes_from_pools(self) -> GpuPoolFields:
        if "excluded_types" in self.model_fields_set and "pools" not in self.model_fields_set:
            raise ValueError("excludedTypes needs pools")
        return self


class NewGpuPoolFields(GpuPoolFields):
    """An endpoint on GPUs names their pools."""

    pools: Annotated[list[str], Field(min_length=1)]
    min_cuda_version: CudaVersion = "0.0"


class WorkerFields(ReceivedBody):
    """How many workers there are, and after how many idle seconds one ends."""

    min: Annotated[int, Field(ge=0)] = 0
    max: Annotated[int, Field(ge=0)] = 3
    idle_timeout: Annotated[int, Field(ge=1, le=3600)] = 10


class EndpointChange(ContainerFields):
    """What may be changed; what a client leaves out stays."""

    name: Name = "-"
    scaling: Scaling = QueueDelayFields(type="QUEUE_DELAY", queueDelay=4)
    gpu: GpuPoolFields = GpuPoolFields()
    cpu: CpuChoice = []
    data_center_ids: list[str] = []
    flashboot: FlashBoot = "OFF"
    network_volumes: list[str] = []
    template_id: str = ""
    timeout: int = 300_000
    workers: WorkerFields = WorkerFields()


class EndpointCreation(EndpointChange):
    """An endpoint needs a name, a type, a way of scaling, and an image of its own or of a template."""

    name: Name
    type: EndpointType
    scaling: Scaling
    gpu: NewGpuPoolFields = NewGpuPoolFields(pools=["-"])
    template_id: Name = "-"

    @model_validator(mode="after")
    def _can_be_made(self) -> EndpointCreation:
        if not self.model_fields_set & {"image", "template_id"}:
            raise ValueError("image: it is required where there is no templateId")
        if self.type == "LOAD_BALANCER" and self.scaling.type != "REQUEST_COUNT":
            raise ValueError("scaling.type: a load-balancing endpoint scales by REQUEST_COUNT only")
        return self
