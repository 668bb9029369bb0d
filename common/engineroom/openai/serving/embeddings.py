"""Embeddings over a TokenSource."""

from __future__ import annotations

import asyncio
import base64
import sys
from array import array
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...errors import APIError
from ..capability_check import prompt_characters
from ..no_effect import NO_EFFECT
from ..schemas import EmbeddingRequest
from ..usage import TokenUsage
from ..validation import check, invalid, unknown_field
from .response import LONG_PROMPT, as_tokens, encode

if TYPE_CHECKING:
    from .tokens import TokenSource


_KNOWN = frozenset(EmbeddingRequest.__struct_fields__) | NO_EFFECT.keys()


async def embeddings(engine: TokenSource, json: Mapping[str, Any], usage: TokenUsage) -> bytes:
    """The body of the answer to one POST /v1/embeddings.

    Args:
        usage: gets the request's tokens.

    Raises:
        APIError: for a request that is wrong, an input that is empty or too long, and for `dimensions`.
    """
    request = check(json, EmbeddingRequest)
    for name in sorted(json.keys() - _KNOWN):
        if json[name] is not None:
            raise unknown_field(name)
    if request.dimensions is not None:
        raise invalid("This model does not support specifying dimensions.", "dimensions", "unsupported_parameter")
    if prompt_characters(json) > LONG_PROMPT:
        prompts = await asyncio.to_thread(as_tokens, engine, "input", request.input)
    else:
        prompts = as_tokens(engine, "input", request.input)
    for number, prompt in enumerate(prompts):
        param = f"input.{number}" if isinstance(request.input, list) and len(prompts) > 1 else "input"
        if not prompt:
            raise invalid(f"Invalid '{param}': input must not be empty.", param, "invalid_value")
        if len(prompt) > engine.max_model_len:
            raise APIError(
                f"This model's maximum context length is {engine.max_model_len} tokens, however you requested "
                f"{len(prompt)} tokens. Please reduce the length of the input.",
                param=param,
                code="context_length_exceeded",
            )
    vectors = await engine.embed(prompts)
    tokens = sum(map(len, prompts))
    reported = {"prompt_tokens": tokens, "total_tokens": tokens}
    usage.read(reported)
    return encode(
        {
            "object": "list",
            "data": [
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": _base64(vector) if request.encoding_format == "base64" else vector,
                }
                for index, vector in enumerate(vectors)
            ],
            "model": request.model,
            "usage": reported,
        }
    )


def _base64(vector: Sequence[float]) -> str:
    """Little-endian 32-bit floats, as OpenAI's clients decode them."""
    floats = array("f", vector)
    if sys.byteorder == "big":
        floats.byteswap()
    return base64.b64encode(floats).decode()
