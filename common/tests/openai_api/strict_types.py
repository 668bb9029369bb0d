"""Responses held against the `openai` package's types: nothing missing, nothing of another type, nothing beside."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from openai import BaseModel

Model = TypeVar("Model", bound=BaseModel)


def strictly(kind: type[Model], body: bytes | str | dict[str, Any]) -> Model:
    """`body` as a `kind`, without any conversion."""
    text = json.dumps(body) if isinstance(body, dict) else body
    model = kind.model_validate_json(text, strict=True)
    _nothing_beside(model, kind.__name__)
    return model


def _nothing_beside(value: Any, where: str) -> None:
    if isinstance(value, BaseModel):
        assert not value.model_extra, f"{where} has {sorted(value.model_extra)}, which the API does not"
        for name in type(value).model_fields:
            _nothing_beside(getattr(value, name), f"{where}.{name}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _nothing_beside(item, f"{where}.{number}")
