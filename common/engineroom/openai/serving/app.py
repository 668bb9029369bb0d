"""OpenAI's HTTP API over a TokenSource, as an ASGI app behind the gateway."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from ...asgi.types import Receive, Scope, Send, send_body
from ...errors import APIError
from ..body import checked_request
from ..capability_check import prompt_characters
from ..model_list import LIST
from ..routes import CHAT_COMPLETIONS, EMBEDDINGS
from ..sse import DONE, HEADERS
from ..usage import TokenUsage, get_usage
from .generation import Choices
from .response import LONG_PROMPT, ServingResponse, encode, usage_object

if TYPE_CHECKING:
    from .tokens import TokenSource


class OpenAIApp:
    """Serves models, chat completions, completions and embeddings; the gateway has checked route and model.

    Nothing is sent before the first token, so that an engine's refusal still gets its own status. The app raises
    APIError, before or amid its answer, and the gateway tells the client. Cancelling the call aborts the generation.
    """

    def __init__(self, engine: TokenSource) -> None:
        self._engine = engine
        self._created = int(time.time())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path == LIST:
            models = [self._model(name) for name in self._engine.models]
            await _send_json(send, encode({"object": "list", "data": models}))
        else:
            await self._post(path, checked_request(scope).json, get_usage(scope), send)

    async def _post(self, path: str, json: dict[str, Any] | None, usage: TokenUsage, send: Send) -> None:
        if json is None:
            raise APIError("The request's body must be JSON.", status=415, code="unsupported_media_type")
        if path == EMBEDDINGS:
            from .embeddings import embeddings

            await _send_json(send, await embeddings(self._engine, json, usage))
            return
        if path == CHAT_COMPLETIONS:
            from .chat import ChatResponse

            await self._generate(await self._response(ChatResponse, json), usage, send)
        else:
            from .completions import CompletionResponse

            await self._generate(await self._response(CompletionResponse, json), usage, send)

    async def _response(
        self, response: Callable[[TokenSource, Mapping[str, Any]], ServingResponse], json: dict[str, Any]
    ) -> ServingResponse:
        """The response to a request. A long prompt takes seconds to tokenise; nobody else waits for that."""
        if prompt_characters(json) > LONG_PROMPT:
            return await asyncio.to_thread(response, self._engine, json)
        return response(self._engine, json)

    async def _generate(self, response: ServingResponse, usage: TokenUsage, send: Send) -> None:
        try:
            await self._send_generated(response, usage, send)
        except APIError as error:
            if error.code == "unsupported_schema" and error.param is None:
                # An engine knows the schema, and not which field it came in.
                error.param = response.schema_field
            raise

    async def _send_generated(self, response: ServingResponse, usage: TokenUsage, send: Send) -> None:
        choices = Choices(self._engine, response.requests, response.stops)
        started = False
        async with aclosing(choices.batches()) as batches:
            async for chunks in batches:
                usage.prompt_tokens = response.prompt_tokens
                usage.completion_tokens = choices.tokens
                if not response.stream:
                    response.add(chunks)
                    continue
                if not started:
                    started = True
                    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
                await send({"type": "http.response.body", "body": response.events(chunks), "more_body": True})
        usage.read(usage_object(response.prompt_tokens, choices.tokens))
        if response.stream:
            await send({"type": "http.response.body", "body": response.last_events(choices.tokens) + DONE})
        else:
            await _send_json(send, response.body(choices.tokens))

    def _model(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._created, "owned_by": self._engine.name}


async def _send_json(send: Send, body: bytes) -> None:
    await send_body(send, 200, body, b"application/json")
