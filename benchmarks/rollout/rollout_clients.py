"""Clients that stay for long, and clients that ask briefly: what each of their requests came to."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, NamedTuple

import aiohttp

STREAM_TOKENS = 160
TOKENS_PER_S = 20
SHORT_EVERY_S = 0.05
SHORT_MS = 150
_TEXT = "one two three"
_CHAT = "/v1/chat/completions"


class RequestOutcome(NamedTuple):
    """One request.

    stream: whether it was a long stream; else a short whole answer.
    began, ended: by `time.monotonic`.
    worker: the address of the worker that had it last, as the proxy says; empty where it does not.
    error: what its client saw; empty for a whole answer.
    silent: whether the client could take it for a whole answer, and it was none.
    """

    front: str
    stream: bool
    began: float
    ended: float
    worker: str
    error: str = ""
    silent: bool = False


class RolloutClients:
    """Clients of one proxy, none of which tries anything again: each error counts."""

    def __init__(self, front: str, url: str, streams: int) -> None:
        self._front = front
        self._url = url
        self._streams = streams
        self._ends = asyncio.Event()
        self._session: aiohttp.ClientSession | None = None
        self.outcomes: list[RequestOutcome] = []

    async def run(self) -> None:
        """Ask until `end`, and wait for the answers."""
        timeout = aiohttp.ClientTimeout(total=120)
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as self._session:
            await asyncio.gather(self._ask_briefly(), *(self._stream(number) for number in range(self._streams)))

    def end(self) -> None:
        self._ends.set()

    async def _stream(self, number: int) -> None:
        await asyncio.sleep(number * STREAM_TOKENS / TOKENS_PER_S / self._streams)
        pace = {"echo_tokens_per_s": TOKENS_PER_S, "max_tokens": STREAM_TOKENS, "ignore_eos": True}
        while not self._ends.is_set():
            await self._ask({"stream": True, **pace}, stream=True)

    async def _ask_briefly(self) -> None:
        asking = set()
        while not self._ends.is_set():
            task = asyncio.ensure_future(self._ask({"echo_ttft_ms": SHORT_MS}, stream=False))
            asking.add(task)
            task.add_done_callback(asking.discard)
            await asyncio.sleep(SHORT_EVERY_S)
        await asyncio.gather(*asking)

    async def _ask(self, fields: dict[str, Any], stream: bool) -> None:
        assert self._session is not None
        body = {"messages": [{"role": "user", "content": _TEXT}], **fields}
        began = time.monotonic()
        worker = ""
        error = ""
        silent = False
        try:
            async with self._session.post(self._url + _CHAT, json=body) as answer:
                # nginx names all that it has asked.
                worker = answer.headers.get("x-worker", "").rpartition(",")[2].strip()
                text = await answer.text()
                if answer.status != 200:
                    error = f"{answer.status} {_words(text)}"
                elif stream:
                    error, silent = check_stream(text)
                elif json.loads(text)["choices"][0]["message"]["content"] != _TEXT:
                    error, silent = "a wrong answer", True
        except asyncio.TimeoutError:
            error = "no end within two minutes"
        except aiohttp.ClientPayloadError:
            error = "cut off: the body is not complete"
        except aiohttp.ClientError as problem:
            error = f"{type(problem).__name__}: {problem}"
        ended = time.monotonic()
        self.outcomes.append(RequestOutcome(self._front, stream, began, ended, worker, error, silent))
        if error:
            await asyncio.sleep(0.2)


def check_stream(text: str) -> tuple[str, bool]:
    """What is wrong with a stream that ended as streams end, and whether nothing in it says so."""
    _, mark, rest = text.partition('"error"')
    if mark:
        return f"event: {_words('{' + mark + rest)}", False
    if text.endswith("data: [DONE]\n\n") and '"finish_reason":"length"' in text.replace(" ", ""):
        return "", False
    return "it ends before its end, as if it were whole", True


def _words(text: str) -> str:
    """An error's message, or what else a body says, in short."""
    try:
        return str(json.loads(text.strip().partition("\n")[0])["error"]["message"])
    except (ValueError, KeyError, TypeError):
        title = text.partition("<title>")[2].partition("</title>")[0]
        return (title or text.strip() or "without a body")[:160]
