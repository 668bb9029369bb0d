"""The specification as schemathesis holds answers against it."""

from __future__ import annotations

import json
from typing import Any

import schemathesis
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from engineroom.openai.sse import payloads

from .conftest import MODELS
from .spec import openai_spec

CONFORMANCE = (status_code_conformance, content_type_conformance, response_schema_conformance)

schema = schemathesis.openapi.from_dict(openai_spec(*MODELS))


@schemathesis.deserializer("text/event-stream")
def events(context: Any, response: schemathesis.Response) -> list[Any]:
    """A stream as its events, each of which is held against the document; it must be whole.

    Of a very long one schemathesis reads only the beginning.
    """
    chunks = payloads(response.content)
    if not response.stream_cut_short:
        assert chunks.pop() == b"[DONE]"
    return [json.loads(chunk) for chunk in chunks if chunk != b"[DONE]"]
