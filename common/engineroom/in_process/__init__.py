"""Engines in this process: they yield tokens, and the core makes OpenAI's API of them."""

from __future__ import annotations

from ..openai.serving.tokens import Token, TokenRequest
from .engine import TokenEngine
from .model_process import ModelProcess
from .threads import in_daemon_thread

__all__ = ["ModelProcess", "Token", "TokenEngine", "TokenRequest", "in_daemon_thread"]
