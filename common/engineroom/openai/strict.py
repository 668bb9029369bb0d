"""Requests that are passed on to an engine's server, looked at before: many servers ignore what they do not know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .routes import CHAT_COMPLETIONS, COMPLETIONS, EMBEDDINGS
from .schemas import ChatRequest, CompletionRequest, EmbeddingRequest
from .validation import check, invalid

_SCHEMAS: Mapping[str, Any] = {
    CHAT_COMPLETIONS: ChatRequest,
    COMPLETIONS: CompletionRequest,
    EMBEDDINGS: EmbeddingRequest,
}


def checked(path: str, json: Mapping[str, Any]) -> dict[str, Any]:
    """The request without what is null; fields that OpenAI's API does not have are left alone.

    Raises:
        APIError: 400, naming the field that has a wrong type or value.
    """
    json = {name: value for name, value in json.items() if value is not None}
    if (schema := _SCHEMAS.get(path)) is not None:
        check({"model": "", **json}, schema)
    return json


def refuse(json: Mapping[str, Any], fields: Mapping[str, str], engine: str) -> None:
    """Refuse fields that would change the answer, and that the engine passes over in silence.

    Args:
        fields: name -> what to do instead, or nothing.

    Raises:
        APIError: 400, for the first of them that asks for anything.
    """
    for name, instead in fields.items():
        if json.get(name):
            how = f"; {instead}" if instead else ""
            raise invalid(f"{engine} does not support '{name}'{how}.", name, "unsupported_parameter")
