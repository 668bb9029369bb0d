"""A request's choices, generated at the same time: tokens become chunks of the response, handed on as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from ...asgi.stream import StreamBuffer
from ...errors import APIError
from ..stop_strings import TextCutter
from .tool_calls import ToolCallChunk, ToolCallParser

if TYPE_CHECKING:
    from .tokens import Token, TokenRequest, TokenSource

_AHEAD = 64
"""How many chunks may wait for a slow client before the generations wait too."""


class ChoiceChunk(msgspec.Struct):
    """What one token adds to an answer.

    index: which choice.
    logprobs: tokens whose text is shown from now on, each with the place of its first character in the text;
        None unless the request asked for logprobs.
    finish_reason: `stop` or `length` on a choice's last piece.
    stop: on the last piece, the stop string that ended the text, if one did.
    """

    index: int
    text: str = ""
    call: ToolCallChunk | None = None
    logprobs: list[tuple[Token, int]] | None = None
    finish_reason: str | None = None
    stop: str | None = None


class ChoiceDecoder:
    """Decodes one choice's tokens.

    Args:
        index: which choice.
        stops: stop strings.
        logprobs: whether the tokens themselves are wanted, for their logprobs.
        parser: finds tool calls out of the text, where tools are offered.
        parallel: whether more than one call is wanted; the choice ends behind the first otherwise.
    """

    def __init__(
        self,
        index: int,
        stops: Sequence[str],
        logprobs: bool,
        parser: ToolCallParser | None = None,
        parallel: bool = True,
    ) -> None:
        self.index = index
        self.tokens = 0
        self._cutter = TextCutter(stops)
        self._waiting: list[tuple[Token, int]] | None = [] if logprobs else None
        self._shown = 0
        self._parser = parser
        self._parallel = parallel

    def feed(self, token: Token) -> list[ChoiceChunk]:
        """The chunks that a token adds; none where nothing can be shown yet."""
        text = ""
        finish_reason = token.finish_reason
        cutter = self._cutter
        self.tokens += bool(token.data) or finish_reason is None
        if token.data:
            if self._waiting is not None:
                self._waiting.append((token, self._shown + len(cutter.held)))
            text = cutter.feed(token.data)
            if cutter.stopped:
                finish_reason = "stop"
        if finish_reason is not None and not cutter.stopped:
            text += cutter.finish()
        if not text and finish_reason is None:
            return []
        released = self._release(text, finish_reason)
        if self._parser is None:
            return [ChoiceChunk(self.index, text, None, released, finish_reason, cutter.stop)]
        return self._read(self._parser, text, released, finish_reason)

    def end(self) -> list[ChoiceChunk]:
        """The last chunks of an engine that ended without a reason."""
        from .tokens import Token

        return self.feed(Token(finish_reason="stop"))

    def _read(
        self, parser: ToolCallParser, text: str, released: list[tuple[Token, int]] | None, finish_reason: str | None
    ) -> list[ChoiceChunk]:
        chunks = []
        for part in parser.feed(text, last=finish_reason is not None):
            if not self._parallel and parser.calls:
                break
            chunks.append(
                ChoiceChunk(self.index, part) if isinstance(part, str) else ChoiceChunk(self.index, call=part)
            )
        if not self._parallel and parser.calls:
            finish_reason = "stop"
        if released or finish_reason is not None:
            chunks.append(ChoiceChunk(self.index, "", None, released, finish_reason, self._cutter.stop))
        return chunks

    def _release(self, text: str, finish_reason: str | None) -> list[tuple[Token, int]] | None:
        if self._waiting is None:
            return None
        self._shown += len(text)
        everything = finish_reason is not None and not self._cutter.stopped
        ready = [entry for entry in self._waiting if everything or entry[1] < self._shown]
        self._waiting = self._waiting[len(ready) :]
        return ready


class Choices:
    """The choices of one request.

    Args:
        engine: generates them.
        requests: one for each choice; a choice of no tokens (`max_tokens` 0) never reaches the engine.
        stops: stop strings of them all.
    """

    def __init__(self, engine: TokenSource, requests: Sequence[TokenRequest], stops: Sequence[str]) -> None:
        self._engine = engine
        self._requests = requests
        self._decoders = [_make_decoder(i, stops, request) for i, request in enumerate(requests)]
        self._chunks: StreamBuffer[ChoiceChunk] = StreamBuffer(_AHEAD)
        self._running = len(requests)

    @property
    def tokens(self) -> int:
        """Tokens generated so far, over all choices."""
        return sum(decoder.tokens for decoder in self._decoders)

    async def batches(self) -> AsyncGenerator[list[ChoiceChunk], None]:
        """All that is ready, whenever something is. Close it to abort what is still running.

        Raises:
            Exception: the first that a generation raised; the others are aborted.
        """
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(self._generate(*pair)) for pair in zip(self._decoders, self._requests, strict=True)]
        begun = False
        try:
            while await self._chunks.wait():
                if not begun:
                    self._raise_refusal()
                    begun = True
                yield self._chunks.drain()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _raise_refusal(self) -> None:
        """Where one choice was refused before anything was sent, the request is: nothing of the others is sent."""
        error = self._chunks.error
        if isinstance(error, APIError) and error.status < 500:
            raise error

    async def _generate(self, decoder: ChoiceDecoder, request: TokenRequest) -> None:
        try:
            if request.max_tokens < 1:
                self._chunks.put([ChoiceChunk(decoder.index, finish_reason="length")])
                return
            async with aclosing(self._engine.generate_tokens(request)) as tokens:
                async for token in tokens:
                    chunks = decoder.feed(token)
                    if not chunks:
                        continue
                    full = self._chunks.put(chunks)
                    if chunks[-1].finish_reason is not None:
                        return
                    if full:
                        await self._chunks.space()
            self._chunks.put(decoder.end())
        except Exception as error:
            self._chunks.close(error)
        except asyncio.CancelledError:
            # We cancelled it, then nobody asks for the error any more; or the engine did, and then the client must
            # not take the silence for an end.
            self._chunks.close(APIError("The generation was cancelled by the engine.", status=500))
            raise
        finally:
            self._running -= 1
            if not self._running:
                self._chunks.close()


def _make_decoder(index: int, stops: Sequence[str], request: TokenRequest) -> ChoiceDecoder:
    parser = None
    if request.tools:
        parser = ToolCallParser({tool["function"]["name"] for tool in request.tools})
    return ChoiceDecoder(index, stops, request.logprobs is not None, parser, request.parallel_tool_calls)
