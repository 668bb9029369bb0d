"""Native generation through an engine's OpenAI surface: a streamed request, read back as deltas."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ..asgi.client import request as open_request
from ..engine import RunningEngine
from ..openai.routes import CHAT_COMPLETIONS, COMPLETIONS
from ..openai.sse import EventParser
from ..openai.upstream_errors import from_upstream
from ..openai.usage import TokenUsage, counting


@dataclass(frozen=True, slots=True)
class Delta:
    """One step of a generation, as `generate` yields it.

    index: which of the request's `n` choices.
    text: whole Unicode characters, possibly none.
    tokens: how many tokens this step stands for.
    finish_reason: OpenAI's (`stop`, `length`, `tool_calls`, `content_filter`) on a choice's last delta, else None.
    usage: cumulative counts, if the engine has reported them; the last delta always has them.
    raw: the engine's own choice object, for what has no field here (logprobs, tool calls, reasoning).
    """

    index: int = 0
    text: str = ""
    tokens: int = 1
    finish_reason: str | None = None
    usage: TokenUsage | None = None
    raw: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """A native request: a prompt or chat messages, and sampling parameters under the engine's own names.

    Exactly one of `prompt` and `messages` is given; several prompts are a list. `sampling_params` become fields of
    the OpenAI request body, so the engine's extensions (`top_k`, `min_p`, …) are passed on as they are. `request_id`
    is what the client calls it.
    """

    prompt: str | list[Any] | None = None
    messages: list[dict[str, Any]] | None = None
    sampling_params: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None
    request_id: str | None = None


def request_headers(request_id: str | None) -> Mapping[str, str]:
    """The headers of a request to the engine, which may log them."""
    return {"x-request-id": request_id} if request_id else {}


async def generate(
    engine: RunningEngine, request: GenerateRequest, counted: TokenUsage | None = None
) -> AsyncIterator[Delta]:
    """Stream a native generation through `engine.app`: messages as a chat completion, a prompt as a completion.

    The last delta carries the usage that the engine counted. Where an engine tells running counts (`usage` on
    every event) each delta has them; where it does not, an event counts as one token until the end corrects it.
    Closing the iterator aborts the generation.

    Args:
        counted: gets the tokens while they are generated, also those of a generation that is not read to its end.

    Raises:
        APIError: from the first step if the request is refused, later if the engine fails.
    """
    path, body = _openai_request(engine, request)
    parser = EventParser()
    headers = request_headers(request.request_id)
    extensions = counting(counted) if counted is not None else None
    async with open_request(engine.app, "POST", path, headers=headers, json=body, extensions=extensions) as response:
        if response.status >= 400:
            raise from_upstream(response.status, await response.read())
        # A delta is held back until the next: the usage comes in an event of its own, behind the last one.
        held: Delta | None = None
        usage: TokenUsage | None = None
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


def _openai_request(engine: RunningEngine, request: GenerateRequest) -> tuple[str, dict[str, Any]]:
    body: dict[str, Any] = {
        **request.sampling_params,
        "model": request.model or engine.models[0],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.messages is not None:
        return CHAT_COMPLETIONS, {**body, "messages": request.messages}
    return COMPLETIONS, {**body, "prompt": request.prompt}


def _usage(event: dict[str, Any]) -> TokenUsage | None:
    usage = event.get("usage")
    if not usage:
        return None
    return TokenUsage(int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0))


def _delta(choice: dict[str, Any], usage: TokenUsage | None) -> Delta:
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
