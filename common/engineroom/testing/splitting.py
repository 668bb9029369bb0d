"""Checks that characters which are split over tokens come whole, wherever in an answer they stand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ..openai.routes import CHAT_COMPLETIONS
from .responses import choices_in, content_of, delta_of, streamed_content
from .target import Target

TEXTS = ("Привет", "नमस्ते", "🦙 llama", "one ж two", "one 漢 two", "one 🫠 two", "end ю", "end の", "end 👩‍👩‍👧")
"""Characters of two, three and four bytes at the beginning, amid and at the end of a text."""


async def the_first_character_may_be_split(target: Target) -> None:
    """A chat opens with the role and has each character whole, also where the first is split over tokens."""

    async def ask(text: str) -> None:
        request = saying(target, text)
        content = content_of(await target.ask(CHAT_COMPLETIONS, request))
        events = await target.stream(CHAT_COMPLETIONS, request)
        assert_opened(events)
        for how, answer in (("whole", content), ("streamed", streamed_content(events))):
            assert_said(target, text, answer, how)

    await asyncio.gather(*map(ask, TEXTS))


async def an_answer_may_end_in_half_a_character(target: Target) -> None:
    """A chat that `max_tokens` ends amid a character is an answer all the same, whole and streamed."""
    for number in (1, 2, 3):
        request = {**saying(target, "🦙🦙🦙"), "max_tokens": number}
        content_of(await target.ask(CHAT_COMPLETIONS, request))
        events = await target.stream(CHAT_COMPLETIONS, request)
        assert_opened(events)
        ended = [choice["finish_reason"] for choice in choices_in(events) if choice.get("finish_reason")]
        assert len(ended) == 1, f"a stream that ends amid a character has one finish reason, not {ended}"


async def characters_stay_whole(
    target: Target,
    path: str,
    limit: str,
    asking: Callable[[str], dict[str, Any]],
    text_of: Callable[[dict[str, Any]], str],
    summed: Callable[[list[dict[str, Any]]], dict[str, Any]],
) -> None:
    """An answer of another surface has each character whole, and may end in half a character.

    Args:
        limit: the field that says how many tokens an answer may have.
        asking: the request that is answered with a text.
        text_of: the text of a response.
        summed: the response that a stream's events add up to, each of them checked.
    """

    async def ask(text: str) -> None:
        request = {**asking(text), limit: tokens(target)}
        whole = await target.ask(path, request)
        streamed = summed(await target.events(path, request))
        for how, response in (("whole", whole), ("streamed", streamed)):
            assert_said(target, text, text_of(response), how)

    await asyncio.gather(*map(ask, TEXTS))
    for number in (1, 2, 3):
        request = {**asking("🦙🦙"), limit: number}
        await target.ask(path, request)
        summed(await target.events(path, request))


def saying(target: Target, text: str) -> dict[str, Any]:
    """A chat request that is answered with the text, as far as the model can be made to."""
    fields = target.expects.saying(text) if target.expects.saying else {}
    return {"messages": [{"role": "user", "content": text}], "max_tokens": tokens(target), **fields}


def tokens(target: Target) -> int:
    """Enough for the text where the model can be made to say it, and else for a few characters."""
    return 40 if target.expects.saying else 8


def assert_said(target: Target, text: str, answer: str, how: str) -> None:
    """The text itself where the model could be made to say it, and else nothing that was broken."""
    if target.expects.saying:
        assert answer == text, f"a {how} answer is to be {text!r}; it was {answer!r}"
    else:
        assert "\ufffd" not in answer.rstrip("\ufffd"), f"a character was lost amid a {how} answer: {answer!r}"


def assert_opened(events: list[dict[str, Any]]) -> None:
    """The first delta has the role, which clients need before they take any content."""
    first = delta_of(choices_in(events)[0])
    assert first.get("role") == "assistant", f"a stream opens with the role `assistant`, not with {first!r}"


CHECKS = (the_first_character_may_be_split, an_answer_may_end_in_half_a_character)
