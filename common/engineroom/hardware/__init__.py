"""This machine's GPUs, and the images that are built for them."""

from __future__ import annotations

from .gpus import Device
from .images import Image, Matrix, MatrixError

__all__ = ["Device", "Image", "Matrix", "MatrixError"]
