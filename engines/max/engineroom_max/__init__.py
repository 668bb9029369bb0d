"""Modular's MAX as an engine: `max serve` in an environment of its own."""

from .engine import MAXEngine as MAXEngine
