"""llama.cpp as an engineroom engine."""

from .engine import LlamaCppEngine

__all__ = ["LlamaCppEngine"]
