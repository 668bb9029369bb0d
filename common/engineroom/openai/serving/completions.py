"""Completions over a TokenSource."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..schemas import MAX_CHOICES, CompletionRequest
from ..validation import check, invalid
from . import logprobs
from .response import (
    Envelope,
    ServingResponse,
    as_tokens,
    check_streaming,
    completion_budget,
    encode,
    engine_params,
    sampling,
    stop_strings,
)
from .tokens import TokenRequest

if TYPE_CHECKING:
    from .generation import ChoiceChunk
    from .tokens import TokenSource

_DEFAULT_MAX_TOKENS = 16
"""OpenAI's own default for completions."""


class CompletionResponse(ServingResponse):
    """The response to one POST /v1/completions: `n` choices for each prompt, in the prompts' order.

    Raises:
        APIError: for a request that is wrong, and for `suffix`, a larger `best_of` and an `echo` that would need
            the prompt's logprobs or the text of token ids, none of which a TokenSource has.
    """

    def __init__(self, engine: TokenSource, json: Mapping[str, Any]) -> None:
        request = check(json, CompletionRequest)
        check_streaming(request)
        _check_supported(request)
        self.stream = bool(request.stream)
        self.stops = stop_strings(request.stop)
        prompts = as_tokens(engine, "prompt", request.prompt if request.prompt is not None else "")
        n = request.n or 1
        if len(prompts) * n > MAX_CHOICES:
            raise invalid(
                f"'n' times the number of prompts must not exceed {MAX_CHOICES}.", "n", "integer_above_max_value"
            )
        asked = _DEFAULT_MAX_TOKENS if request.max_tokens is None else request.max_tokens
        common: dict[str, Any] = {
            "logprobs": request.logprobs,
            "params": engine_params(json, chat=False),
            **sampling(request),
        }
        self.requests = [
            TokenRequest(
                prompt=prompt,
                max_tokens=completion_budget(len(prompt), asked, engine.max_model_len, "prompt"),
                choice=choice,
                **common,
            )
            for prompt in prompts
            for choice in range(n)
        ]
        self._echoed = [text for text in _echoed(request) for _ in range(n)]
        self.prompt_tokens = sum(map(len, prompts))
        null_usage = bool(request.stream_options and request.stream_options.include_usage)
        envelope = Envelope("cmpl", "text_completion", request.model, null_usage)
        self._text_tail = b',"logprobs":null,"finish_reason":null}' + envelope.tail
        self._begun: set[int] = set()
        super().__init__(request, envelope, None if request.logprobs is None else logprobs.completion([], 0))

    def choices(self, chunk: ChoiceChunk) -> Iterator[dict[str, Any]]:
        index = chunk.index
        if self._echoed and index not in self._begun:
            self._begun.add(index)
            yield _choice(index, self._echoed[index])
        if chunk.logprobs:
            yield {**_choice(index, chunk.text), "logprobs": logprobs.completion(chunk.logprobs, self._offset(index))}
        elif chunk.text:
            yield _choice(index, chunk.text)
        if chunk.finish_reason is not None:
            yield {**_choice(index, ""), "finish_reason": chunk.finish_reason}

    def events(self, chunks: Sequence[ChoiceChunk]) -> bytes:
        out: list[bytes] = []
        head = self._envelope.head
        text_tail = self._text_tail
        for chunk in chunks:
            plain = chunk.finish_reason is None and not chunk.logprobs
            if plain and chunk.text and not self._echoed:
                out += (head, b'{"index":%d,"text":' % chunk.index, encode(chunk.text), text_tail)
            else:
                out += map(self._envelope.event, self.choices(chunk))
        return b"".join(out)

    def _offset(self, index: int) -> int:
        return len(self._echoed[index]) if self._echoed else 0


def _choice(index: int, text: str) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": None}


def _check_supported(request: CompletionRequest) -> None:
    if request.suffix:
        raise invalid("'suffix' is not supported by this model.", "suffix", "unsupported_parameter")
    n = request.n or 1
    if request.best_of and request.best_of < n:
        raise invalid("'best_of' must not be smaller than 'n'.", "best_of", "invalid_value")
    if request.best_of and request.best_of > n:
        raise invalid("'best_of' above 'n' is not supported by this model.", "best_of", "unsupported_value")
    if request.echo and request.logprobs is not None:
        raise invalid("'echo' together with 'logprobs' is not supported by this model.", "echo", "unsupported_value")


def _echoed(request: CompletionRequest) -> list[str]:
    if not request.echo:
        return []
    prompts = request.prompt if isinstance(request.prompt, list) else [request.prompt or ""]
    texts = [prompt for prompt in prompts if isinstance(prompt, str)]
    if len(texts) < len(prompts):
        raise invalid("'echo' of token ids is not supported by this model.", "echo", "unsupported_value")
    return texts
