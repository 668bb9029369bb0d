"""A parrot as an engineroom engine: it says what it hears, a byte at a time."""

import asyncio
import itertools

from pydantic import Field

from engineroom.engine import Capabilities
from engineroom.in_process import Token, TokenEngine
from engineroom.settings import Settings


class ParrotSettings(Settings):
    title = "Parrot"
    parrot_bytes_per_s: float = Field(500, gt=0, description="How fast it speaks.")


class ParrotEngine(TokenEngine):
    name = "parrot"
    summary = "Says what it hears, a byte at a time; there is no model in it."
    defaults = {"MODEL_NAME": "parrot"}
    sampling_params = frozenset({"ignore_eos"})
    capabilities = Capabilities(surfaces=frozenset({"chat", "completions"}), several_choices=True)
    vocabulary_size = 256
    max_model_len = 4096

    def __init__(self, worker, settings):
        super().__init__(worker)
        self._models = worker.served_model_name or (worker.model_name,)
        self._pause = 1 / settings.parrot_bytes_per_s
        self._running = 0

    @classmethod
    def settings(cls, env):
        return (ParrotSettings,)

    @classmethod
    def configure(cls, worker, env):
        return cls(worker, ParrotSettings.load(env))

    @property
    def models(self):
        return self._models

    async def load(self):
        """Here a real engine loads its model: `await in_daemon_thread(...)`, and EngineStartError where it fails."""

    async def unload(self):
        """Here it frees the model."""

    def tokenize(self, text):
        return list(text.encode())

    def chat_prompt(self, messages, params):
        return self.tokenize("\n".join(message["content"] or "" for message in messages))

    async def generate_tokens(self, request):
        speech = itertools.cycle(request.prompt) if request.params.get("ignore_eos") else iter(request.prompt)
        self._running += 1
        try:
            for token in itertools.islice(speech, request.max_tokens):
                await asyncio.sleep(self._pause)
                yield Token(bytes([token]), token)
            yield Token(finish_reason="stop" if next(speech, None) is None else "length")
        finally:
            self._running -= 1

    async def metrics(self):
        return f"# TYPE parrot_running gauge\nparrot_running {self._running}\n"
