"""SGLang as an engineroom engine: `ENGINE=sglang`."""

from .engine import SGLangEngine

__all__ = ["SGLangEngine"]
