"""Streams of chat completions over HTTP as a client sees them, each with a prompt of its own."""

from __future__ import annotations

from collections.abc import Sequence

from rounds import ChatServer, Round

PLACES = "a lighthouse, a bakery, a submarine, a library, a vineyard, a glacier, an observatory, a circus, a harbour, "
PLACES += "a monastery, a ghost town, a greenhouse, a clock tower, a night train, a salt mine, an island"


def prompts(streams: int, number: int) -> list[str]:
    """As many prompts, no two of them alike, and none that another `number` has: no cache of prompts helps."""
    places = PLACES.split(", ")
    what = "Who lives there, what do they fear, and what happens in the one night that changes everything?"
    return [
        f"{number}.{streams}: tell a long story about {places[i % 16]} in chapter {i}. {what}" for i in range(streams)
    ]


class EngineDoor:
    """An engine's HTTP door on a port of this machine."""

    def __init__(self, port: int) -> None:
        self._server = ChatServer(port, keep=False)

    async def round(self, asked: Sequence[str], tokens: int) -> Round:
        """Ask all at once for exactly so many tokens each.

        Raises:
            RequestFailure: a request failed.
            RuntimeError: the engine counts other tokens than were asked for.
        """
        fields = {"model": "smol", "temperature": 0, "ignore_eos": True, "max_tokens": tokens}
        bodies = [{**fields, "messages": [{"role": "user", "content": prompt}]} for prompt in asked]
        result = await self._server.round(bodies)
        if result.tokens != tokens * len(asked):
            raise RuntimeError(f"{result.tokens} tokens, not {len(asked)} times {tokens}")
        return result
