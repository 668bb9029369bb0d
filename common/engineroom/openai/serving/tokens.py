"""What the API over tokens asks of an engine: token ids in, tokens out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Token:
    """One generated token.

    data: its bytes in UTF-8. A character may be split over several tokens; the core puts it together again.
    id: its number in the vocabulary.
    logprob: natural logarithm of its probability, if the request asked for it.
    top: the most likely alternatives as (bytes, logprob), likeliest first, if the request asked for them.
    finish_reason: on the last token of a generation `stop` (the model ended) or `length` (a limit was reached). A last
        token without data carries only this, and is not counted.
    """

    data: bytes = b""
    id: int = 0
    logprob: float | None = None
    top: Sequence[tuple[bytes, float]] = ()
    finish_reason: str | None = None


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One choice to generate; the core asks `n` times for `n` choices.

    prompt: token ids from `TokenSource.tokenize`, with the chat template applied.
    max_tokens: the most tokens to generate; the core has already lowered it to what fits into the context.
    choice: which of the `n` choices this is, from 0; mix it into the seed.
    logprobs: how many alternatives each token has to carry; 0 for its own logprob only, None for no logprobs.
    schema: JSON schema that the text must satisfy, `{}` for any JSON object, None for free text. A tool call that the
        request demands comes as a schema, too.
    tools: as in OpenAI's request, validated; empty if none may be called. The chat template has already shown them to
        the model, and the core finds the calls in its text.
    parallel_tool_calls: whether it may make more than one call; if not, the core ends the answer after the first.
    params: every other field that may change the answer, including the engine's own sampling parameters.

    Stop strings are not among them: the core cuts the text and closes the iterator.
    """

    prompt: Sequence[int]
    max_tokens: int
    choice: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    logprobs: int | None = None
    schema: Mapping[str, Any] | None = None
    tools: Sequence[Mapping[str, Any]] = ()
    parallel_tool_calls: bool = True
    params: Mapping[str, Any] = field(default_factory=dict)


class TokenSource(ABC):
    """The part of an engine that turns text into tokens and tokens into more of them."""

    max_model_len: int
    """Prompt and completion tokens together, at most; read once the engine is ready."""

    vocabulary_size: int = 2**31
    """Token ids are below it; read once the engine is ready."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The engine's name."""

    @property
    @abstractmethod
    def models(self) -> tuple[str, ...]:
        """The served model names, the primary one first."""

    @abstractmethod
    def tokenize(self, text: str) -> list[int]:
        """The token ids of `text`. A long one, or a long chat, comes in a thread of its own, while others come here."""

    @abstractmethod
    def chat_prompt(self, messages: Sequence[Mapping[str, Any]], params: Mapping[str, Any]) -> list[int]:
        """The token ids of chat messages, the model's chat template applied.

        `params` are the whole request; `chat_template` makes of both what a Jinja template is given.

        Raises:
            APIError: where the messages cannot be put into the template.
        """

    def part_text(self, part: Mapping[str, Any]) -> str | None:
        """What stands in a prompt for a part of a message that is not text; None where the model takes no such part.

        part: in OpenAI's shape, e.g. `{"type": "image_url", "image_url": {"url": …}}`. Override it together with
        declaring `images` or another kind among the engine's capabilities.
        """
        return None

    @abstractmethod
    def generate_tokens(self, request: TokenRequest) -> AsyncGenerator[Token, None]:
        """Generate one choice. Closing the iterator aborts the generation and frees it at once.

        Raises:
            APIError: before the first token, for a parameter that the engine cannot honour.
        """

    async def embed(self, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
        """One vector for each prompt. Override it if the engine has embeddings; that adds the route."""
        raise NotImplementedError
