"""Ollama as an engineroom engine."""

from .engine import OllamaEngine

__all__ = ["OllamaEngine"]
