"""What a check is, and all of them in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from . import aborting, answering, refusing
from .target import NotOffered, Target


@dataclass(frozen=True)
class Check:
    """One obligation of an engine; awaiting `run(target)` raises AssertionError where it is not met."""

    name: str
    run: Callable[[Target], Awaitable[None]]
    seconds: float = 120

    @property
    def promise(self) -> str:
        """What the engine owes, in a line."""
        return (self.run.__doc__ or "").strip().partition("\n")[0]

    async def __call__(self, target: Target) -> None:
        try:
            await asyncio.wait_for(self.run(target), self.seconds)
        except asyncio.TimeoutError:
            raise AssertionError(f"{self.name} was not over after {self.seconds:g} s") from None

    def __str__(self) -> str:
        return self.name


CHECKS = tuple(
    Check(function.__name__, function) for module in (answering, refusing, aborting) for function in module.CHECKS
)

__all__ = ["CHECKS", "Check", "NotOffered"]
