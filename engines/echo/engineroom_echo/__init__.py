"""A sample engine with no model in it: it echoes. Template and test double for engineroom."""

from .engine import EchoEngine

__all__ = ["EchoEngine"]
