"""This machine's GPUs, those that RunPod rents out, and the images that are built for them."""

from __future__ import annotations

from . import gpus
from .catalog import CatalogError, CatalogGpu, CatalogSource, GpuCatalog
from .gpus import Device, nvidia_smi
from .image_names import ImageName, ImageNameError
from .images import IMAGE_REPOSITORY, Image, Matrix, MatrixError

__all__ = [
    "IMAGE_REPOSITORY",
    "CatalogError",
    "CatalogGpu",
    "CatalogSource",
    "Device",
    "GpuCatalog",
    "Image",
    "ImageName",
    "ImageNameError",
    "Matrix",
    "MatrixError",
    "gpus",
    "nvidia_smi",
]
