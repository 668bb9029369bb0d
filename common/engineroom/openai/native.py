"""Native generation through an engine's OpenAI surface: a streamed request, read back as deltas."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import msgspec

from ..engine import Delta, GenerateRequest, Usage
from ..inprocess import request as call
from .upstream_errors import from_upstream

if TYPE_CHECKING:
    from ..engine import Engine


async def generate_through_app(engine: Engine, request: GenerateRequest) -> AsyncIterator[Delta]:
    """Stream `request` through `engine.app`: messages as a chat completion, a prompt as a completion.

    The last delta carries the usage that the engine counted. Where an engine tells running counts (`usage` on
    every event) each delta has them; where it does not, an event counts as one token until the end corrects it.
    """
    from .sse import EventParser

    path, body = _openai_request(engine, request)
    parser = EventParser()
    async with call(engine.app, "POST", path, body=msgspec.json.encode(body)) as response:
        if response.status >= 400:
            raise from_upstream(response.status, await response.read())
        held: Delta | None = None
        usage: Usage | None = None
        async for chunk in response:
            for data in parser.feed(chunk):
                if data == b"[DONE]":
                    continue
                event = msgspec.json.decode(data)
                if "error" in event:
                    raise from_upstream(500, data)
                usage = _usage(event) or usage
                for choice in event.get("choices") or ():
                    if held is not None:
                        yield held
                    held = _delta(choice, usage)
        if held is not None:
            yield Delta(held.index, held.text, held.tokens, held.finish_reason, usage or held.usage, held.raw)


def _openai_request(engine: Engine, request: GenerateRequest) -> tuple[str, dict[str, Any]]:
    body: dict[str, Any] = {
        **request.sampling_params,
        "model": request.model or engine.models[0],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.messages is not None:
        return "/v1/chat/completions", {**body, "messages": request.messages}
    return "/v1/completions", {**body, "prompt": request.prompt}


def _usage(event: dict[str, Any]) -> Usage | None:
    usage = event.get("usage")
    if not usage:
        return None
    return Usage(int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0))


def _delta(choice: dict[str, Any], usage: Usage | None) -> Delta:
    delta = choice.get("delta")
    text = (delta.get("content") if isinstance(delta, dict) else choice.get("text")) or ""
    return Delta(
        index=choice.get("index", 0),
        text=text,
        tokens=1 if text or (delta or {}).get("reasoning_content") else 0,
        finish_reason=choice.get("finish_reason"),
        usage=usage,
        raw=choice,
    )
