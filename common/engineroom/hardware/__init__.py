"""This machine's GPUs, and the images that are built for them."""

from __future__ import annotations

from . import gpus
from .gpus import Device, nvidia_smi
from .images import Image, Matrix, MatrixError

__all__ = ["Device", "Image", "Matrix", "MatrixError", "gpus", "nvidia_smi"]
