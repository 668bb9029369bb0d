"""OpenVINO GenAI as an engine: continuously batched text on Intel's CPUs and GPUs, or an encoder's embeddings."""

from .engine import OpenVINOEngine

__all__ = ["OpenVINOEngine"]
