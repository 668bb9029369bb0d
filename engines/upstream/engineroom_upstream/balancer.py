"""Which server a request goes to, and to which next."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from engineroom.asgi import Message, Receive, Scope, Send, send_body
from engineroom.errors import APIError
from engineroom.openai.body import checked_request
from engineroom.openai.model_list import LIST

from .target import ELSEWHERE, Target

if TYPE_CHECKING:
    from .engine import UpstreamEngine


class Balancer:
    """The inner app of the engine, behind the gateway, which cancels it when the client disconnects.

    A request goes to the server that has its model and the fewest of our requests. As long as its client has got
    nothing, a server that fails, is busy or has not what is asked for is followed by the next; each is asked once.

    A 500 may be the request's fault. Where another server then answers it was the server's, which its breaker is told:
    one that fails at once would be the least loaded always.
    """

    def __init__(self, engine: UpstreamEngine) -> None:
        self._engine = engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == LIST:
            await self._models(send)
            return
        request = checked_request(scope)
        model = request.json.get("model") if request.json is not None else None
        left = list(self._engine.targets)
        sent = False

        async def sending(message: Message) -> None:
            nonlocal sent
            sent = True
            await send(message)

        failure: APIError | None = None
        doubtful: list[Target] = []
        while (target := least_loaded(left, model)) is not None:
            left.remove(target)
            try:
                await target.serve(scope, sending)
            except APIError as error:
                if sent or error.status not in ELSEWHERE:
                    raise
                if error.status == 500:
                    doubtful.append(target)
                # That one server has not what is asked for matters only where no other has it either.
                failure = failure if failure is not None and error.status == 404 else error
            else:
                for other in doubtful:
                    other.breaker.failed()
                return
        for target in doubtful:
            target.breaker.succeeded()
        raise failure or APIError(
            "No server behind this one can be asked now.", status=503, code="upstream_unavailable", retry_after=2
        )

    async def _models(self, send: Send) -> None:
        models = [
            {"id": model, "object": "model", "created": int(time.time()), "owned_by": self._engine.name}
            for model in self._engine.models
        ]
        await send_body(send, 200, msgspec.json.encode({"object": "list", "data": models}), b"application/json")


def least_loaded(targets: Sequence[Target], model: str | None) -> Target | None:
    """The usable server with the fewest of our requests, that has `model`; None where there is none."""
    able = [target for target in targets if target.usable and target.has(model)]
    for target in sorted(able, key=lambda target: target.running):
        if target.breaker.allow():
            return target
    return None
