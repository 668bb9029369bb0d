"""A request's choices over a stand-in engine: bounded, closed in every case, and what bad engines do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from engineroom.errors import APIError
from engineroom.in_process import Token, TokenRequest
from engineroom.openai.serving.generation import ChoiceChunk, Choices

Script = Callable[[TokenRequest], AsyncGenerator[Token, None]]


class StandinEngine:
    """Only what `Choices` asks of an engine: a script, and a count of those that run."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.running = 0
        self.produced = 0

    async def generate_tokens(self, request: TokenRequest) -> AsyncGenerator[Token, None]:
        self.running += 1
        try:
            async with aclosing(self._script(request)) as tokens:
                async for token in tokens:
                    self.produced += 1
                    yield token
        finally:
            self.running -= 1


def choices(engine: Any, n: int = 1, stops: Sequence[str] = (), **fields: Any) -> Choices:
    return Choices(engine, [TokenRequest(prompt=[1], max_tokens=99, choice=k, **fields) for k in range(n)], stops)


async def endless(request: TokenRequest) -> AsyncGenerator[Token, None]:
    while True:
        yield Token(b"x")


async def read(choices: Choices) -> list[ChoiceChunk]:
    async with aclosing(choices.batches()) as batches:
        return [piece async for batch in batches for piece in batch]


@pytest.mark.parametrize("n", [1, 5])
async def test_a_slow_reader_holds_the_engine_back(n: int) -> None:
    engine = StandinEngine(endless)
    async with aclosing(choices(engine, n).batches()) as batches:
        read = 0
        for _ in range(3):
            read += len(await batches.__anext__())
            for _ in range(50):
                await asyncio.sleep(0)
            assert engine.produced - read <= 64 + n
        assert engine.running == n
    assert engine.running == 0


async def test_cancelling_closes_everything() -> None:
    async def silent(request: TokenRequest) -> AsyncGenerator[Token, None]:
        yield Token(b"x")
        await asyncio.Event().wait()

    engine = StandinEngine(silent)
    task = asyncio.ensure_future(read(choices(engine, 3)))
    for _ in range(50):
        await asyncio.sleep(0)
    assert engine.running == 3
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.running == 0


async def test_an_engine_that_gives_no_reason() -> None:
    async def short(request: TokenRequest) -> AsyncGenerator[Token, None]:
        yield Token("é".encode())
        yield Token("é".encode()[:1])

    pieces = await read(choices(StandinEngine(short)))
    assert [(piece.text, piece.finish_reason) for piece in pieces] == [("é", None), ("\ufffd", "stop")]


async def test_tokens_after_the_last_are_not_read() -> None:
    async def talkative(request: TokenRequest) -> AsyncGenerator[Token, None]:
        yield Token(b"a", finish_reason="length")
        yield Token(b"b")

    engine = StandinEngine(talkative)
    pieces = await read(choices(engine))
    assert [(piece.text, piece.finish_reason) for piece in pieces] == [("a", "length")]
    assert (engine.produced, engine.running) == (1, 0)


async def test_what_was_said_before_a_failure_is_said() -> None:
    async def failing(request: TokenRequest) -> AsyncGenerator[Token, None]:
        yield Token(b"a")
        raise APIError("it broke", status=500)

    engine = StandinEngine(failing)
    async with aclosing(choices(engine).batches()) as batches:
        assert [piece.text for piece in await batches.__anext__()] == ["a"]
        with pytest.raises(APIError, match="it broke"):
            await batches.__anext__()
    assert engine.running == 0


async def test_a_refusal_of_one_choice_ends_the_others_unsaid() -> None:
    async def picky(request: TokenRequest) -> AsyncGenerator[Token, None]:
        if request.choice == 2:
            raise APIError("not this one", param="seed")
        async for token in endless(request):
            yield token

    engine = StandinEngine(picky)
    with pytest.raises(APIError, match="not this one"):
        await read(choices(engine, 3))
    assert engine.running == 0


async def test_an_engine_s_own_cancellation_is_an_error() -> None:
    async def cancelled(request: TokenRequest) -> AsyncGenerator[Token, None]:
        yield Token(b"a")
        raise asyncio.CancelledError

    with pytest.raises(APIError, match="cancelled"):
        await asyncio.wait_for(read(choices(StandinEngine(cancelled))), 60)
