"""Streams of chat completions over HTTP as a client sees them, each with a prompt of its own."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp

PLACES = "a lighthouse, a bakery, a submarine, a library, a vineyard, a glacier, an observatory, a circus, a harbour, "
PLACES += "a monastery, a ghost town, a greenhouse, a clock tower, a night train, a salt mine, an island"


@dataclass
class Round:
    """What one round gave: tokens as the engine counted them, wall seconds, each stream's seconds to its first text."""

    tokens: int
    seconds: float
    first: list[float]


def prompts(streams: int, number: int) -> list[str]:
    """As many prompts, no two of them alike, and none that another `number` has: no cache of prompts helps."""
    places = PLACES.split(", ")
    what = "Who lives there, what do they fear, and what happens in the one night that changes everything?"
    return [
        f"{number}.{streams}: tell a long story about {places[i % 16]} in chapter {i}. {what}" for i in range(streams)
    ]


class ChatServer:
    """An OpenAI-compatible server on a port of this machine."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1/chat/completions"

    async def round(self, asked: Sequence[str], tokens: int) -> Round:
        """Ask all at once for exactly so many tokens each.

        Raises:
            RuntimeError: an answer was not 200, or its usage not as asked.
        """
        timeout = aiohttp.ClientTimeout(total=600)
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
            began = time.perf_counter()
            streams = await asyncio.gather(*(self._stream(session, prompt, tokens) for prompt in asked))
            seconds = time.perf_counter() - began
        return Round(sum(number for number, _ in streams), seconds, [first for _, first in streams])

    async def _stream(self, session: aiohttp.ClientSession, prompt: str, tokens: int) -> tuple[int, float]:
        body = {
            "model": "smol",
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "ignore_eos": True,
            "max_tokens": tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        began, first, last = time.perf_counter(), 0.0, b""
        async with session.post(self.url, json=body) as answer:
            if answer.status != 200:
                raise RuntimeError(f"{self.url}: {answer.status} {(await answer.text())[:500]}")
            async for line in answer.content:
                if not line.startswith(b"data: {"):
                    continue
                last = line
                if not first and any(c["delta"].get("content") for c in json.loads(line[6:])["choices"]):
                    first = time.perf_counter() - began
        counted = (json.loads(last[6:]).get("usage") or {}).get("completion_tokens")
        if counted != tokens or not first:
            raise RuntimeError(f"{self.url}: {counted} tokens, not {tokens}: {last[:500]!r}")
        return counted, first
