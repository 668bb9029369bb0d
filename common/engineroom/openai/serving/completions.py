"""Completions over a TokenSource."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..schemas import MAX_CHOICES, CompletionRequest
from ..validation import check, invalid
from . import logprobs
from .prompts import as_tokens
from .response import (
    Answer,
    Envelope,
    check_streaming,
    completion_budget,
    encode,
    engine_params,
    sampling,
    stop_strings,
    usage_object,
)
from .tokens import TokenRequest

if TYPE_CHECKING:
    from .generation import Piece
    from .tokens import Token, TokenSource

_DEFAULT_MAX_TOKENS = 16
"""OpenAI's own default for completions."""


class CompletionAnswer(Answer):
    """The answer to one POST /v1/completions: `n` choices for each prompt, in the prompts' order.

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
            raise invalid(f"'n' times the prompts must not be above {MAX_CHOICES}.", "n", "integer_above_max_value")
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
        self._with_usage = bool(request.stream_options and request.stream_options.include_usage)
        self._envelope = Envelope("cmpl", "text_completion", request.model, self._with_usage)
        self._text_tail = b',"logprobs":null,"finish_reason":null' + self._envelope.tail
        self._begun: set[int] = set()
        self._texts: list[list[str]] = [[] for _ in self.requests]
        self._tokens: list[list[tuple[Token, int]]] = [[] for _ in self.requests]
        self._finish_reasons = ["stop"] * len(self.requests)
        self._logprobs = request.logprobs is not None

    def events(self, pieces: Sequence[Piece]) -> bytes:
        out: list[bytes] = []
        head, text_tail = self._envelope.head, self._text_tail
        for piece in pieces:
            index = piece.index
            if self._echoed and index not in self._begun:
                self._begun.add(index)
                out.append(self._event(index, self._echoed[index]))
            if piece.logprobs:
                probs = logprobs.completion(piece.logprobs, self._offset(index))
                out.append(self._event(index, piece.text, probs))
            elif piece.text:
                out += (head, b'%d,"text":' % index, encode(piece.text), text_tail)
            if piece.finish_reason is not None:
                out.append(self._event(index, "", None, piece.finish_reason))
        return b"".join(out)

    def last_events(self, completion_tokens: int) -> bytes:
        if not self._with_usage:
            return b""
        return self._envelope.usage_event(usage_object(self.prompt_tokens, completion_tokens))

    def add(self, pieces: Sequence[Piece]) -> None:
        for piece in pieces:
            self._texts[piece.index].append(piece.text)
            self._tokens[piece.index] += piece.logprobs or ()
            if piece.finish_reason is not None:
                self._finish_reasons[piece.index] = piece.finish_reason

    def body(self, completion_tokens: int) -> bytes:
        return encode(
            {
                **self._envelope.fields,
                "choices": [self._choice(index) for index in range(len(self.requests))],
                "usage": usage_object(self.prompt_tokens, completion_tokens),
            }
        )

    def _choice(self, index: int) -> dict[str, Any]:
        echoed = self._echoed[index] if self._echoed else ""
        probs = logprobs.completion(self._tokens[index], self._offset(index)) if self._logprobs else None
        return {
            "index": index,
            "text": echoed + "".join(self._texts[index]),
            "logprobs": probs,
            "finish_reason": self._finish_reasons[index],
        }

    def _event(
        self, index: int, text: str, probs: Mapping[str, Any] | None = None, finish_reason: str | None = None
    ) -> bytes:
        rest = encode({"text": text, "logprobs": probs, "finish_reason": finish_reason})
        return b"%s%d,%s%s" % (self._envelope.head, index, rest[1:-1], self._envelope.tail)

    def _offset(self, index: int) -> int:
        return len(self._echoed[index]) if self._echoed else 0


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
