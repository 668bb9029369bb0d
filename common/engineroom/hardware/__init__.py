"""This machine's GPUs, those that RunPod rents out, and the images that are built for them."""

from __future__ import annotations

from . import gpus
from .catalog import CatalogError, CatalogGpu, CatalogSource, GpuCatalog
from .gpus import Device, nvidia_smi
from .images import Image, Matrix, MatrixError

__all__ = [
    "CatalogError",
    "CatalogGpu",
    "CatalogSource",
    "Device",
    "GpuCatalog",
    "Image",
    "Matrix",
    "MatrixError",
    "gpus",
    "nvidia_smi",
]
