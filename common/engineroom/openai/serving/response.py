"""What the responses to chat completions and completions have in common, and the prompts that clients may give."""

from __future__ import annotations

import functools
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ...errors import APIError
from ..aggregate import CompletionAggregator
from ..no_effect import NO_EFFECT
from ..schemas import ChatRequest, CompletionRequest
from ..stop_strings import RETURN_STOP_REASON
from ..validation import invalid
from . import chat_template
from .generation import ChoiceChunk

if TYPE_CHECKING:
    from ..schemas import Generation
    from .tokens import TokenRequest, TokenSource

encode = msgspec.json.Encoder().encode

_NOT_FOR_ENGINES = frozenset({RETURN_STOP_REASON, "modalities", *NO_EFFECT})
"""Fields that an engine does not get: they leave the answer as it is, or have been dealt with."""

_ENGINE_FIELDS = frozenset({"frequency_penalty", "presence_penalty", "logit_bias", "verbosity"})
"""OpenAI's fields that an engine deals with; all others are the core's."""

_CHAT = frozenset({*ChatRequest.__struct_fields__, *chat_template.FIELDS}) - _ENGINE_FIELDS
_COMPLETIONS = frozenset(CompletionRequest.__struct_fields__) - _ENGINE_FIELDS

LONG_PROMPT = 20_000
"""Characters from which a prompt is tokenised beside the event loop: a tokeniser may take 16 µs for each."""


class ServingResponse(ABC):
    """One response: made from the request, fed with chunks, read as events of a stream or as one body.

    requests: what the engine is to generate, one for each choice.
    stops: the stop strings.
    stream: whether the client asked for events.
    prompt_tokens: over all prompts.
    schema_field: the field whose schema the text must satisfy, where there is one.
    """

    requests: Sequence[TokenRequest]
    stops: Sequence[str]
    stream: bool
    prompt_tokens: int
    schema_field = "response_format"

    def __init__(self, request: Generation, envelope: Envelope, empty_logprobs: Mapping[str, Any] | None) -> None:
        """Call it last: by then `requests` is there.

        Args:
            empty_logprobs: those of a choice without a token; None where none were asked for.
        """
        self._with_usage = bool(request.stream_options and request.stream_options.include_usage)
        self._envelope = envelope
        self._empty_logprobs = empty_logprobs
        self._texts: list[list[str]] = [[] for _ in self.requests]

    @functools.cached_property
    def _aggregator(self) -> CompletionAggregator:
        """What puts a whole response together; a stream needs none."""
        aggregator = CompletionAggregator()
        choices = [{"index": index, "logprobs": self._empty_logprobs} for index in range(len(self.requests))]
        aggregator.add({**self._envelope.fields, "choices": choices})
        return aggregator

    @abstractmethod
    def choices(self, chunk: ChoiceChunk) -> Iterator[dict[str, Any]]:
        """The choices of the events that a chunk makes: one event for each."""

    @abstractmethod
    def events(self, chunks: Sequence[ChoiceChunk]) -> bytes:
        """The SSE events of the next chunks. It is on the path of every token: plain text has a short cut."""

    def add(self, chunks: Sequence[ChoiceChunk]) -> None:
        """Take in the next chunks of a response that is not streamed. Plain text is joined first: that is cheaper."""
        for chunk in chunks:
            texts = self._texts[chunk.index]
            if chunk.finish_reason is None and chunk.call is None and not chunk.logprobs:
                texts.append(chunk.text)
                continue
            parts = [ChoiceChunk(chunk.index, "".join(texts)), chunk] if texts else [chunk]
            texts.clear()
            self._aggregator.add({"choices": [choice for part in parts for choice in self.choices(part)]})

    def body(self, completion_tokens: int) -> bytes:
        """The whole response, once all chunks are taken in."""
        return encode({**self._aggregator.response(), "usage": usage_object(self.prompt_tokens, completion_tokens)})

    def last_events(self, completion_tokens: int) -> bytes:
        """What ends a stream before `[DONE]`: the usage where it was asked for."""
        if not self._with_usage:
            return b""
        return self._envelope.usage_event(usage_object(self.prompt_tokens, completion_tokens))


def new_id(prefix: str) -> str:
    return f"{prefix}-{secrets.token_hex(14)}"


def stop_strings(stop: str | list[str] | None) -> tuple[str, ...]:
    """The stop strings; empty ones, which some clients send for none, are left out."""
    return tuple(text for text in ([stop] if isinstance(stop, str) else stop or ()) if text)


def engine_params(json: Mapping[str, Any], *, chat: bool) -> dict[str, Any]:
    """The fields of a chat or of a completion that may change the answer and are not the core's business.

    Raises:
        APIError: for a field that only the other of the two has, unless it asks for nothing (`false`, `[]`).
    """
    own, other = (_CHAT, _COMPLETIONS) if chat else (_COMPLETIONS, _CHAT)
    params = {name: value for name, value in json.items() if name not in own | _NOT_FOR_ENGINES and value is not None}
    for name in sorted(params.keys() & other):
        if params.pop(name):
            where = "completions have" if chat else "chat completions have"
            raise invalid(f"'{name}' is not supported here; {where} it.", name, "unsupported_parameter")
    return params


def sampling(request: Generation) -> dict[str, Any]:
    """TokenRequest's sampling fields."""
    return {
        "temperature": 1.0 if request.temperature is None else request.temperature,
        "top_p": 1.0 if request.top_p is None else request.top_p,
        "seed": request.seed,
    }


def check_streaming(request: Generation) -> None:
    """Refuse `stream_options` where nothing is streamed, as OpenAI does."""
    if request.stream_options is not None and not request.stream:
        raise invalid("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")


def completion_budget(prompt: int, asked: int | None, max_model_len: int, param: str) -> int:
    """How many tokens may be generated: what was asked for, lowered to what fits.

    Args:
        prompt: tokens in the prompt.
        asked: None for as many as fit.
        param: the field that holds the prompt.

    Raises:
        APIError: 400 `context_length_exceeded`, where the prompt leaves no room for even one token.
    """
    room = max_model_len - prompt
    if room < 1 and asked != 0:
        raise APIError(
            f"This model's maximum context length is {max_model_len} tokens. However, your {param} resulted in "
            f"{prompt} tokens. Please reduce the length of the {param}.",
            param=param,
            code="context_length_exceeded",
        )
    return room if asked is None else min(asked, room)


def as_tokens(
    engine: TokenSource, param: str, prompt: str | Sequence[str | int | Sequence[int]]
) -> list[Sequence[int]]:
    """The token ids of each prompt.

    Args:
        param: the field that holds them, for the errors.

    Raises:
        APIError: where the elements are of several kinds, or a list of token ids is empty or out of the vocabulary.
    """
    if isinstance(prompt, str):
        return [engine.tokenize(prompt)]
    if all(isinstance(element, int) for element in prompt):
        return [check_ids([element for element in prompt if isinstance(element, int)], engine.vocabulary_size, param)]
    prompts: list[Sequence[int]] = []
    for number, element in enumerate(prompt):
        if isinstance(element, int) or isinstance(element, str) is not isinstance(prompt[0], str):
            raise invalid(
                f"Invalid '{param}': its elements must all be strings, token ids, or lists of token ids.",
                f"{param}.{number}",
                "invalid_type",
            )
        if not element and not isinstance(element, str):
            raise invalid(f"Invalid '{param}.{number}': an empty list of token ids.", f"{param}.{number}")
        if isinstance(element, str):
            prompts.append(engine.tokenize(element))
        else:
            prompts.append(check_ids(element, engine.vocabulary_size, f"{param}.{number}"))
    return prompts


def check_ids(ids: Iterable[int], size: int, param: str) -> list[int]:
    """`ids`, all of them in a vocabulary of that size. Raises APIError for any other."""
    ids = list(ids)
    if any(not 0 <= token < size for token in ids):
        raise invalid(f"Invalid '{param}': token ids go from 0 to {size - 1}.", param, "invalid_value")
    return ids


def usage_object(prompt_tokens: int, completion_tokens: int) -> dict[str, Any]:
    """The `usage` of a response."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


class Envelope:
    """The constant part of a response's objects.

    Args:
        prefix: of the id: `chatcmpl` or `cmpl`.
        kind: the `object` of an event.
        null_usage: whether events carry `"usage": null`, as they do when the last one carries the usage.
    """

    def __init__(self, prefix: str, kind: str, model: str, null_usage: bool) -> None:
        self.fields = {"id": new_id(prefix), "object": kind, "created": int(time.time()), "model": model}
        head = encode(self.fields)[:-1]
        self.head = b"data: " + head + b',"choices":['
        self.tail = b'],"usage":null}\n\n' if null_usage else b"]}\n\n"
        self._usage_head = b"data: " + head + b',"choices":[],"usage":'

    def event(self, choice: Mapping[str, Any]) -> bytes:
        """The event of one choice."""
        return self.head + encode(choice) + self.tail

    def usage_event(self, counts: Mapping[str, Any]) -> bytes:
        return self._usage_head + encode(counts) + b"}\n\n"
