"""The way that most pieces of a stream take: to the client at once, and to the layers between many at a time.

A piece that passes layer by layer costs more in calls than in work. Most layers only watch a stream that flows, so they
may as well be told of sixteen pieces together.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Protocol

from .types import Message, Send

_MOST_PIECES = 16
"""Pieces that are kept before the layers are told of them: together they cost half of what each would alone."""
_COLON = ord(":")


class PieceObserver(Protocol):
    """A layer that watches a stream."""

    def note_pieces(self, times: Sequence[float], pieces: Sequence[bytes]) -> None:
        """Take what has been sent since the last call.

        Args:
            times: when each piece was sent, by `time.perf_counter`.
            pieces: each of whole events, none of them a comment at its beginning.
        """
        ...


class PieceCount(Protocol):
    """What counts the pieces of a stream one by one.

    sent: pieces so far.
    """

    sent: int


class FastPath:
    """Takes the pieces of an event stream past all layers. Each of these has agreed to it; see `fast_path`.

    Whoever sends something else on the same response calls `catch_up` before, so that layers learn of all in its order.

    Args:
        write: gives a piece to the client at once; False where it cannot take one now.
    """

    __slots__ = ("_closed", "_counts", "_observers", "_pieces", "_reserved", "_times", "_write")

    def __init__(self, write: Callable[[bytes], bool]) -> None:
        self._write = write
        self._closed = False
        self._observers: list[PieceObserver] = []
        self._counts: list[PieceCount] = []
        self._reserved: bytes | None = None
        self._times: list[float] = []
        self._pieces: list[bytes] = []

    def observe(self, observer: PieceObserver) -> None:
        """Tell a layer of all pieces from now on, before the layers that have asked already, which are further out:
        they read what it counts."""
        self._observers.insert(0, observer)

    def count(self, counts: PieceCount) -> None:
        """Count each piece at once, for whoever looks whether the stream moves."""
        self._counts.append(counts)

    def reserve(self, text: bytes) -> None:
        """Take no piece that has this in it: a layer has something to do with it."""
        self._reserved = text

    def take(self, piece: bytes) -> bool:
        """Send a piece; False, and nothing is done, where it has to go layer by layer, as what is no whole event has.
        Then this path ends here: ask for another one behind that piece."""
        if (
            self._closed
            or piece[-2:] != b"\n\n"
            or piece[0] == _COLON
            or (self._reserved is not None and piece.find(self._reserved) >= 0)
            or not self._write(piece)
        ):
            self.close()
            return False
        for counts in self._counts:
            counts.sent += 1
        self._times.append(perf_counter())
        self._pieces.append(piece)
        if len(self._pieces) >= _MOST_PIECES:
            self.catch_up()
        return True

    def catch_up(self) -> None:
        """Tell the layers of all that has been sent since they were told."""
        pieces = self._pieces
        if not pieces:
            return
        times = self._times
        self._pieces = []
        self._times = []
        for observer in self._observers:
            observer.note_pieces(times, pieces)

    def close(self) -> None:
        """Take nothing more, and tell the layers of all that has been sent."""
        self._closed = True
        self.catch_up()
        # They refer back to here; nothing is to wait for a collection.
        self._observers.clear()


def fast_path(send: Send, observer: PieceObserver | None = None) -> FastPath | None:
    """A path past `send` and all that is behind it; None where one of these has to see each piece, at least for now.

    A `send` lets pieces pass it by if it is the method of an object that has a method `fast_path() -> FastPath | None`.

    Args:
        observer: is told of the path's pieces: the layer that asks.
    """
    ask = getattr(getattr(send, "__self__", None), "fast_path", None)
    fast: FastPath | None = None if ask is None else ask()
    if fast is not None and observer is not None:
        fast.observe(observer)
    return fast


def at_head(send: Send, send_head: Callable[[Message], Awaitable[None]]) -> Send:
    """A `send` that gives a response's head to `send_head`, and what follows to `send`: it lets all pieces pass it by.

    Args:
        send_head: sends a `http.response.start`, after whatever there is to do with it.
    """
    return _AtHead(send, send_head).send


class _AtHead:
    __slots__ = ("_send", "_send_head")

    def __init__(self, send: Send, send_head: Callable[[Message], Awaitable[None]]) -> None:
        self._send = send
        self._send_head = send_head

    def send(self, message: Message) -> Awaitable[None]:
        # On the path of a stream's pieces where there is no fast one: a coroutine would cost more than all the rest.
        return self._send_head(message) if message["type"] == "http.response.start" else self._send(message)

    def fast_path(self) -> FastPath | None:
        return fast_path(self._send)
