"""Writes engineroom_vllm/request_fields.json: the fields that vLLM's own request models declare.

Run it with the Python that has vLLM: `.venv-vllm/bin/python engines/vllm/tools/dump_request_fields.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[1] / "engineroom_vllm" / "request_fields.json"


def request_fields() -> dict[str, list[str]]:
    """Path -> the fields that are declared for it."""
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.entrypoints.openai.completion.protocol import CompletionRequest
    from vllm.entrypoints.pooling.embed.protocol import EmbeddingChatRequest, EmbeddingCompletionRequest

    models: dict[str, list[Any]] = {
        "/v1/chat/completions": [ChatCompletionRequest],
        "/v1/completions": [CompletionRequest],
        "/v1/embeddings": [EmbeddingCompletionRequest, EmbeddingChatRequest],
    }
    return {path: sorted({name for each in classes for name in each.model_fields}) for path, classes in models.items()}


if __name__ == "__main__":
    TARGET.write_text(json.dumps(request_fields(), indent=2) + "\n", encoding="utf-8")
