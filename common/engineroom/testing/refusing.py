"""Checks of what an engine answers to a bad request: OpenAI's error, with the right status, and life goes on."""

from __future__ import annotations

from ..openai.routes import CHAT_COMPLETIONS
from .responses import QUESTION, error_of
from .target import NotOffered, Target


async def malformed_json_is_400(target: Target) -> None:
    """Malformed JSON is a 400."""
    error_of(*await target.post(CHAT_COMPLETIONS, b'{"messages": ['), 400)


async def wrong_types_are_400(target: Target) -> None:
    """Wrong types are a 400, also for a stream, before any event."""
    for wrong in (
        {"messages": "hello"},
        {"messages": QUESTION, "max_tokens": "many"},
        {"messages": QUESTION, "n": -1},
        # Some servers look at this one only once the stream has begun.
        {"messages": QUESTION, "logprobs": True, "top_logprobs": 21},
    ):
        for stream in (False, True):
            error_of(*await target.post(CHAT_COMPLETIONS, {**wrong, "stream": stream}), 400)


async def unknown_model_is_404(target: Target) -> None:
    """An unknown model is a 404 that names it."""
    error = error_of(*await target.post(CHAT_COMPLETIONS, {"model": "no/such-model", "messages": QUESTION}), 404)
    assert "no/such-model" in error["message"], f"the error names the model that is unknown: {error['message']!r}"


async def unknown_route_is_404(target: Target) -> None:
    """An unknown route is OpenAI's 404, a wrong method a 405."""
    error_of(*await target.get("/v1/no-such-route"), 404)
    if target.serves(CHAT_COMPLETIONS):
        error_of(*await target.get(CHAT_COMPLETIONS), 405)


async def too_long_is_400(target: Target) -> None:
    """A prompt that does not fit is a 400 with the code `context_length_exceeded`, whole and streamed."""
    if target.expects.max_model_len is None:
        raise NotOffered("the context length is not known; --max-model-len gives it")
    text = "one two three " * target.expects.max_model_len
    for stream in (False, True):
        request = {"messages": [{"role": "user", "content": text}], "max_tokens": 4, "stream": stream}
        error = error_of(*await target.post(CHAT_COMPLETIONS, request), 400)
        code = error["code"]
        assert code == "context_length_exceeded", f"a prompt that does not fit has that code, not {code!r}: {error!r}"


async def errors_do_no_harm(target: Target) -> None:
    """After all of these a good request is answered."""
    await target.ask(CHAT_COMPLETIONS, {"messages": QUESTION, "max_tokens": 2})


CHECKS = (
    malformed_json_is_400,
    wrong_types_are_400,
    unknown_model_is_404,
    unknown_route_is_404,
    too_long_is_400,
    errors_do_no_harm,
)
