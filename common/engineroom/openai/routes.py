"""The paths of OpenAI's API, and of the APIs that engines serve beside it."""

from __future__ import annotations

from ..engine import SURFACE_PATHS

CHAT_COMPLETIONS = SURFACE_PATHS["chat"]
COMPLETIONS = SURFACE_PATHS["completions"]
RESPONSES = SURFACE_PATHS["responses"]
MESSAGES = SURFACE_PATHS["messages"]
EMBEDDINGS = SURFACE_PATHS["embeddings"]
RERANK = SURFACE_PATHS["rerank"]
COUNT_TOKENS = f"{MESSAGES}/count_tokens"
"""Anthropic's: how many tokens the messages of a request are."""
COUNT_INPUT = f"{RESPONSES}/input_tokens"
"""OpenAI's: how many tokens the input of a request is."""

TEXT_ROUTES = frozenset({CHAT_COMPLETIONS, COMPLETIONS})
"""The routes whose streams are chunks with `choices`, ended by `[DONE]`."""

STREAMING_ROUTES = TEXT_ROUTES | {RESPONSES, MESSAGES}
"""The routes that answer a request with `stream` by events."""
