"""What a check is, and all of them in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ..openai.routes import CHAT_COMPLETIONS, COMPLETIONS, MESSAGES, RESPONSES
from ..timeouts import timeout
from . import aborting, answering, messaging, pooling, refusing, responding, scripts, silences, splitting
from .target import NotOffered, Target


@dataclass(frozen=True)
class Check:
    """One obligation of an engine; awaiting `run(target)` raises AssertionError where it is not met.

    path: the route that it is about; None for a check that every engine passes, whatever it serves.
    seconds: how long it may take.
    """

    name: str
    run: Callable[[Target], Awaitable[None]]
    path: str | None = CHAT_COMPLETIONS
    seconds: float = 120

    @property
    def promise(self) -> str:
        """What the engine owes, in a line."""
        return (self.run.__doc__ or "").strip().partition("\n")[0]

    async def __call__(self, target: Target) -> None:
        if self.path is not None and not target.serves(self.path):
            raise NotOffered(self.path)
        try:
            async with timeout(self.seconds):
                await self.run(target)
        except asyncio.TimeoutError:
            raise AssertionError(f"{self.name} was not over after {self.seconds:g} s") from None

    def __str__(self) -> str:
        return self.name


_OTHER_PATHS = {
    answering.models_are_listed: None,
    answering.a_model_is_retrieved: None,
    answering.completion_answers: COMPLETIONS,
    refusing.unknown_route_is_404: None,
    **dict.fromkeys(responding.CHECKS, RESPONSES),
    **dict.fromkeys(messaging.CHECKS, MESSAGES),
}
"""Checks that are not about chat -> the route that they are about."""

CHECKS = tuple(
    Check(function.__name__, function, _OTHER_PATHS.get(function, CHAT_COMPLETIONS))
    for module in (answering, splitting, responding, messaging, scripts, silences, refusing, aborting, pooling)
    for function in module.CHECKS
)

__all__ = ["CHECKS", "Check", "NotOffered"]
