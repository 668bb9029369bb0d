"""An engine whose server is elsewhere: any OpenAI-compatible URL, or several of them."""

from .engine import UpstreamEngine

__all__ = ["UpstreamEngine"]
