"""transformers as an engine of this process: any Hugging Face model, continuously batched."""

from .engine import TransformersEngine

__all__ = ["TransformersEngine"]
