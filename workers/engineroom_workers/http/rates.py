"""Requests and tokens a minute for each key."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from engineroom.asgi import ASGIApp, Headers, Receive, Scope, Send
from engineroom.errors import APIError
from engineroom.openai.body import KEY, Request
from engineroom.openai.errors import error_response

from .call import Refusing, call_of, with_headers

if TYPE_CHECKING:
    from .minutes import Minutes, Window
    from .settings import LimitSettings

_BYTES_A_TOKEN = 4
"""OpenAI's rule of thumb for English: https://help.openai.com/en/articles/4936856."""


class Rates(Refusing):
    """Refuses with a 429 what is over a key's limit by the minute, and tells every client where it stands.

    Tokens are paid when the request comes, as OpenAI counts them: the prompt, estimated by its length, and the
    `max_tokens` it asks for. What the answer took beyond that is added when it is known.
    """

    def __init__(self, app: ASGIApp, settings: LimitSettings, minutes: Minutes) -> None:
        super().__init__(app)
        self._settings = settings
        self._minutes = minutes

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":  # A list of models is no request to a model; health checks ask for it.
            await self.app(scope, receive, send)
            return
        call = call_of(scope)
        headers: Headers = []
        send = with_headers(send, headers)
        requests = call.key.requests_per_minute or self._settings.requests_per_minute
        tokens = call.key.tokens_per_minute or self._settings.tokens_per_minute
        cost = _cost(scope.get(KEY)) if tokens else 0
        try:
            if requests:
                _check("requests", 1, await self._minutes.take("requests", call.key.name, requests, 1), headers)
            if tokens:
                _check("tokens", cost, await self._minutes.take("tokens", call.key.name, tokens, cost), headers)
        except APIError as error:
            await error_response(send, scope, error)
            return
        try:
            await self.app(scope, receive, send)
        finally:
            call.settle()
            excess = call.prompt_tokens + call.completion_tokens - cost
            if tokens and excess > 0:
                # All or nothing is what the counter can do: more than what is left takes what is left.
                window = await self._minutes.take("tokens", call.key.name, tokens, excess)
                if not window.taken and window.remaining:
                    await self._minutes.take("tokens", call.key.name, tokens, window.remaining)


def _check(what: str, cost: int, window: Window, headers: Headers) -> None:
    """Note a limit's state in the answer's headers, by OpenAI's names.

    Raises:
        APIError: 429 where it is used up.
    """
    for name, value in ("limit", window.limit), ("remaining", window.remaining), ("reset", _duration(window.reset)):
        headers.append((f"x-ratelimit-{name}-{what}".encode(), str(value).encode()))
    if window.taken:
        return
    if cost > window.limit:
        raise APIError(
            f"Request too large: it needs {cost} {what}, and {window.limit} a minute is the limit. A smaller "
            "`max_tokens` or a shorter prompt needs less.",
            status=429,
            type="rate_limit_error",
            code="rate_limit_exceeded",
        )
    wait = int(window.wait) + 1
    raise APIError(
        f"Rate limit reached: {window.limit} {what} a minute. Please try again in {wait} s.",
        status=429,
        type="rate_limit_error",
        code="rate_limit_exceeded",
        retry_after=wait,
    )


def _cost(request: Request | None) -> int:
    """An estimate; at least 1, so that nothing that is left empty comes in where no token is left."""
    if request is None or request.json is None:
        return 1
    json = request.json
    text = sum(_length(json.get(name)) for name in ("messages", "prompt", "input", "system", "instructions"))
    asked = json.get("max_completion_tokens") or json.get("max_tokens") or json.get("max_output_tokens") or 0
    choices = json.get("n") or 1
    whole = isinstance(asked, int) and isinstance(choices, int)
    return max(1, math.ceil(text / _BYTES_A_TOKEN) + (max(0, asked) * max(1, choices) if whole else 0))


def _length(value: Any) -> int:
    """Characters of text anywhere in `value`; a number is a token id and counts as one token's."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(_length(part) for name, part in value.items() if name in ("content", "text"))
    if isinstance(value, list):
        return sum(_length(part) for part in value)
    return _BYTES_A_TOKEN if isinstance(value, int) else 0


def _duration(seconds: float) -> str:
    """As OpenAI writes durations: `850ms`, `7s`, `1m2s`."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
