"""What a request becomes before SGLang sees it, and what it must not ask for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from engineroom.openai.routes import CHAT_COMPLETIONS, COMPLETIONS, EMBEDDINGS, RERANK
from engineroom.openai.strict import GENERATION_FIELDS, only_honoured, shown_messages, without_empty_stops

_FIELDS: Mapping[str, frozenset[str]] = msgspec.json.decode(
    Path(__file__).with_name("fields.json").read_bytes(), type=dict[str, frozenset[str]]
)

SAMPLING_PARAMS = _FIELDS["beyond_openai"]
"""Its fields beyond OpenAI's. `lora_path` is not among them: adapters are asked for by their names."""

HONOURED: Mapping[str, frozenset[str]] = {
    CHAT_COMPLETIONS: (SAMPLING_PARAMS - _FIELDS["completions_alone"]) | GENERATION_FIELDS | _FIELDS["openai_chat"],
    COMPLETIONS: (SAMPLING_PARAMS - _FIELDS["chat_alone"]) | GENERATION_FIELDS | _FIELDS["openai_completions"],
    EMBEDDINGS: _FIELDS[EMBEDDINGS],
    RERANK: _FIELDS[RERANK],
}
"""What SGLang acts on. It takes all other fields without a word, even `best_of` and `suffix`, which it declares."""

_MEMBERS = frozenset({"content", "name", "reasoning_content", "role", "tool_call_id", "tool_calls", "tools"})
"""What SGLang reads of a message and hands to the chat template."""

_INSTEAD = {
    "functions": "use 'tools'",
    "lora_path": "name the adapter as the 'model'",
    "best_of": "use 'n', and choose",
}


def prepare(path: str, json: dict[str, Any], model: str, adapter: str | None) -> dict[str, Any]:
    """The request to send, by the one model name that SGLang knows.

    Args:
        adapter: the LoRA adapter that it is for, by its name.

    Raises:
        APIError: 400 for what SGLang would ignore without a word.
    """
    request = without_empty_stops({**only_honoured(path, json, HONOURED, "SGLang", _INSTEAD), "model": model})
    if path == CHAT_COMPLETIONS and isinstance(request.get("messages"), list):
        request["messages"] = shown_messages(request["messages"], _MEMBERS, "SGLang")
    if adapter is not None:
        request["lora_path"] = adapter
    return request


def as_rerank(body: bytes, model: str) -> bytes:
    """SGLang's list of scores in the form that clients of `/v1/rerank` know."""
    scored = msgspec.json.decode(body)
    if not isinstance(scored, list):
        return body
    results = []
    for item in scored:
        result = {"index": item["index"], "relevance_score": item["score"]}
        if item.get("document") is not None:
            result["document"] = {"text": item["document"]}
        results.append(result)
    return msgspec.json.encode({"model": model, "results": results})
