"""The bodies of templates."""

from __future__ import annotations

from typing import Literal

from .base import CudaVersion, Name
from .container import ContainerFields, TemplateMountFields


class TemplateChange(ContainerFields):
    """What may be changed; what a client leaves out stays."""

    name: Name = "-"
    allowed_cuda_versions: list[CudaVersion] = []
    category: Literal["CPU", "NVIDIA", "AMD"] = "NVIDIA"
    mounts: TemplateMountFields = TemplateMountFields()
    public: bool = False
    serverless: bool = False
    start_jupyter: bool = True
    start_ssh: bool = True


class TemplateCreation(TemplateChange):
    """A template needs a name and an image."""

    name: Name
    image: str
