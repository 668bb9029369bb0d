"""OpenAI's chat API as a client of the terminal needs it: models, and answers that stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import aiohttp

from engineroom.openai.sse import EventParser

from ..error_text import error_text, json_or_text
from ..targets.connection import TargetError, explained
from ..targets.target import RemoteTarget
from .answer import Answer, Piece
from .thinking import ThinkingSplitter

Message = Mapping[str, str]

_ERROR_BYTES = 65_536


class ChatClient:
    """A target's chat API.

    Args:
        session: of `targets.connection.open_session`; whoever opened it closes it.
    """

    def __init__(self, session: aiohttp.ClientSession, target: RemoteTarget) -> None:
        self.target = target
        self._session = session
        self._usage_of_streams = True

    async def models(self) -> list[str]:
        """The served models, the primary one first; empty where the server does not say.

        Raises:
            TargetError: the server does not answer, or refuses.
        """
        with explained(self.target):
            async with self._session.get(f"{self.target.openai_url}/models") as response:
                if response.status != 200:
                    raise await self._refusal(response)
                body = json_or_text(await response.read())
        entries = body.get("data") if isinstance(body, dict) else None
        if not isinstance(entries, list):
            raise TargetError(_no_api(self.target))
        return [str(entry["id"]) for entry in entries if isinstance(entry, dict) and entry.get("id")]

    async def stream(
        self, messages: Sequence[Message], answer: Answer, parameters: Mapping[str, Any]
    ) -> AsyncIterator[Piece]:
        """The pieces of the answer to a conversation; `answer` collects them, and what is measured.

        To close the iterator closes the connection, by which a server knows to stop.

        Args:
            answer: its `model` is asked.
            parameters: more fields of the request, e.g. `temperature`.

        Raises:
            TargetError: the server refuses, fails, or ends the stream before the answer is complete.
        """
        request = {"model": answer.model, "messages": list(messages), "stream": True, **parameters}
        with explained(self.target):
            async with await self._ask(request) as response:
                if response.content_type != "text/event-stream":
                    raise _not_a_stream(await response.content.read(_ERROR_BYTES), self.target)
                try:
                    async for piece in _pieces(response, answer):
                        answer.add(piece)
                        yield piece
                except BaseException:
                    # What is left of this answer must not be what the next request reads.
                    response.close()
                    raise
        if not answer.finish_reason:
            raise TargetError("the server ended the answer before it was complete; its log may say why")

    async def _ask(self, request: dict[str, Any]) -> aiohttp.ClientResponse:
        """The response of status 200, from a server that may not know `stream_options`."""
        url = f"{self.target.openai_url}/chat/completions"
        if self._usage_of_streams:
            with_usage = {**request, "stream_options": {"include_usage": True}}
            response = await self._session.post(url, json=with_usage)
            if response.status == 200:
                return response
            async with response:
                refusal = await self._refusal(response)
            if response.status not in (400, 422) or "stream_options" not in str(refusal):
                raise refusal
            self._usage_of_streams = False
        response = await self._session.post(url, json=request)
        if response.status != 200:
            async with response:
                raise await self._refusal(response)
        return response

    async def _refusal(self, response: aiohttp.ClientResponse) -> TargetError:
        """What is to be said of a response that is no 200."""
        body = json_or_text(await response.content.read(_ERROR_BYTES))
        reason = error_text(body)
        retry_after = _seconds(response.headers.get("Retry-After", ""))
        return TargetError(_advice(response.status, reason, body, self.target), response.status, retry_after)


async def _pieces(response: aiohttp.ClientResponse, answer: Answer) -> AsyncIterator[Piece]:
    parser = EventParser()
    thinking = ThinkingSplitter()
    async for chunk in response.content.iter_any():
        for data in parser.feed(chunk):
            for piece in _event(data, answer, thinking):
                yield piece
    for data in parser.finish():
        for piece in _event(data, answer, thinking):
            yield piece
    for piece in thinking.finish():
        yield piece


def _event(data: bytes, answer: Answer, thinking: ThinkingSplitter) -> list[Piece]:
    """The pieces of one event of the stream. Raises TargetError for an error in it."""
    if data == b"[DONE]":
        # A server that never gave a reason has ended the answer all the same.
        answer.finish_reason = answer.finish_reason or "stop"
        return []
    event = json_or_text(data)
    if not isinstance(event, dict):
        return []
    if event.get("error"):
        raise TargetError(f"the server ended the answer with an error: {error_text(event)}")
    _note_usage(event.get("usage"), answer)
    pieces: list[Piece] = []
    for choice in event.get("choices") or []:
        delta = choice.get("delta") or {}
        reasoning = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(reasoning, str) and reasoning:
            pieces.append(Piece(reasoning, reasoning=True))
        content = delta.get("content") or delta.get("refusal")
        if isinstance(content, str) and content:
            pieces += thinking.feed(content)
        answer.finish_reason = choice.get("finish_reason") or answer.finish_reason
    return pieces


def _note_usage(usage: Any, answer: Answer) -> None:
    if not isinstance(usage, dict) or not isinstance(usage.get("completion_tokens"), int):
        return
    answer.counted = True
    answer.completion_tokens = usage["completion_tokens"]
    answer.prompt_tokens = usage.get("prompt_tokens")
    answer.cached_tokens = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")


def _advice(status: int, reason: str, body: Any, target: RemoteTarget) -> str:
    """An error's message with what to do about it."""
    because = f": {reason}" if reason else ""
    where = target.address.url
    if status in (401, 403):
        if target.key:
            return f"{where} refuses the key from {target.key_source} ({status}{because}); give the right one"
        variable = "RUNPOD_API_KEY" if target.address.kind in ("queue", "load-balancer") else "OPENAI_API_KEY"
        return f"{where} wants a key ({status}{because}); set {variable}, or pass --api-key"
    if target.address.kind == "queue" and status == 500:
        why = reason if reason and reason != "Internal Server Error" else "RunPod does not pass on why"
        return f"the endpoint's worker failed the request: {why}; the endpoint's logs say more"
    if target.address.kind == "load-balancer" and "no workers available" in reason:
        return (
            f"no worker of {target.name} was ready within the two minutes that RunPod waits; they are still starting, "
            "or fail to, as `engineroom top` and the endpoint's logs show"
        )
    if status == 404 and not reason:
        return _no_api(target)
    if status == 404 and isinstance(body, str):
        return _no_api(target)
    return f"{where} answered {status}{because}"


def _not_a_stream(body: bytes, target: RemoteTarget) -> TargetError:
    content = json_or_text(body)
    if isinstance(content, dict) and content.get("error"):
        return TargetError(f"{target.address.url} answered with an error: {error_text(content)}")
    return TargetError(_no_api(target))


def _no_api(target: RemoteTarget) -> str:
    return f"{target.openai_url} is not OpenAI's API; check the address, which is what comes before /chat/completions"


def _seconds(text: str) -> float | None:
    return float(text) if text.isdigit() else None
