"""vLLM as an engineroom engine: `vllm serve` on a Unix socket, in vLLM's own Python."""

from .engine import VLLMEngine

__all__ = ["VLLMEngine"]
