"""The echo engine: a TokenEngine that says what was said to it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from engineroom.engine import Capabilities, Metric, exposition
from engineroom.errors import APIError, EngineStartError
from engineroom.in_process import Token, TokenEngine, TokenRequest
from engineroom.settings import WorkerSettings

from . import vocabulary
from .answer import answer
from .pacing import paced
from .settings import SAMPLING_PARAMS, EchoOptions, EchoSettings

if TYPE_CHECKING:
    from typing_extensions import Self

    from engineroom.settings import Environment, SettingsGroup

_EMBEDDING_SIZE = 64
_SAFE_MODEL_LEN = 4096


class EchoEngine(TokenEngine):
    """Echoes the last message of a chat, or the prompt of a completion. There is no model in it.

    Choice 0 is the echo itself, choice k begins with `(k) `. It ends with `stop` when the echo is complete, unless
    the request has `ignore_eos`: then it goes on until `max_tokens`. Given a JSON schema it says the smallest
    instance of it; given tools it calls those that the user's message names, or as `tool_choice` demands. What the
    message names (`add(2, 3)`, 'a quoted text') stands in the instance and in the arguments where it fits.
    """

    name = "echo"
    summary = "Echoes what it is asked; it has no model. For tests, and as a template."
    defaults = {"MODEL_NAME": "echo"}
    sampling_params = SAMPLING_PARAMS | {*EchoOptions.model_fields}
    vocabulary_size = vocabulary.SIZE
    capabilities = Capabilities(
        surfaces=frozenset({"chat", "completions", "embeddings"}),
        tools="forced",
        logprobs=True,
        several_choices=True,
        json_schema=True,
        images=True,
    )

    def __init__(self, worker: WorkerSettings, settings: EchoSettings) -> None:
        super().__init__(worker)
        self._settings = settings
        self.max_model_len = settings.echo_max_model_len
        self._running = 0
        self._tokens = 0

    @classmethod
    def settings(cls, env: Environment) -> tuple[SettingsGroup, ...]:
        return (EchoSettings,)

    @classmethod
    def configure(cls, worker: WorkerSettings, env: Environment) -> Self:
        return cls(worker, EchoSettings.load(env))

    async def load(self) -> None:
        await asyncio.sleep(self._settings.echo_start_s)
        if self._settings.echo_fault == "start":
            raise EngineStartError("ECHO_FAULT=start asks for this failure; unset it")
        if self._settings.echo_fault == "memory" and self.max_model_len > _SAFE_MODEL_LEN:
            raise EngineStartError(
                f"ECHO_MAX_MODEL_LEN={self.max_model_len} needs more memory than ECHO_FAULT=memory leaves: lower it",
                safer={"ECHO_MAX_MODEL_LEN": str(_SAFE_MODEL_LEN)},
            )

    async def unload(self) -> None:
        """There is nothing to free."""

    def tokenize(self, text: str) -> list[int]:
        return vocabulary.encode(text)

    def part_text(self, part: Mapping[str, Any]) -> str | None:
        """An image is acknowledged, not looked at."""
        return "[image]" if part["type"] == "image_url" else None

    def chat_prompt(self, messages: Sequence[Mapping[str, Any]], params: Mapping[str, Any]) -> list[int]:
        return vocabulary.chat_template(messages)

    async def generate_tokens(self, request: TokenRequest) -> AsyncGenerator[Token, None]:
        options = EchoOptions.of(self._settings, request.params)
        tokens_to_say = answer(request, options)
        self._running += 1
        try:
            pace = paced(tokens_to_say, options.echo_ttft_ms / 1000, options.echo_tokens_per_s)
            async with aclosing(pace) as tokens:
                number = 0
                async for token in tokens:
                    if number == options.echo_fault_after and options.echo_fault != "none":
                        await self._fail(options.echo_fault)
                    number += 1
                    self._tokens += token.finish_reason is None
                    yield token
        finally:
            self._running -= 1

    async def embed(self, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
        """Counts of the tokens by id modulo 64, of length 1: equal texts are equal, similar ones similar."""
        vectors = []
        for prompt in prompts:
            vector = [0.0] * _EMBEDDING_SIZE
            for token in prompt:
                vector[token % _EMBEDDING_SIZE] += 1
            length = math.sqrt(sum(value * value for value in vector))
            vectors.append([value / length for value in vector])
        return vectors

    async def metrics(self) -> str:
        return exposition(
            [
                Metric("engineroom_echo_running", "gauge", "Generations that are running.", {"": self._running}),
                Metric("engineroom_echo_tokens_total", "counter", "Tokens generated.", {"": self._tokens}),
            ]
        )

    async def _fail(self, fault: str) -> None:
        if fault == "die":
            self.die("echo_fault=die asked for it")
        if fault in ("die", "hang"):
            await asyncio.Event().wait()
        raise APIError("The generation failed: echo_fault=error asked for it.", status=500)
