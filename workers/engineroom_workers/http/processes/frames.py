"""What a door process and the main process say to each other, on a connection that serves one request at a time."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TypeAlias

import msgspec

from engineroom.asgi import Headers

_LENGTH_BYTES = 4


class _Frame(msgspec.Struct, array_like=True, tag=True):
    """Base of all frames; a subclass's name is its tag."""


# From a door process.


class RequestHead(_Frame):
    """A request has come; its body follows when it is asked for."""

    method: str
    path: str
    raw_path: bytes
    query_string: bytes
    headers: Headers
    http_version: str
    scheme: str
    client: tuple[str, int] | None
    server: tuple[str, int | None] | None


class RequestBody(_Frame):
    """A part of the body."""

    part: bytes
    more: bool


class RequestBodyError(_Frame):
    """The body does not come: what its client is to be answered."""

    error: ErrorFields


class ClientLeft(_Frame):
    """The client has closed its connection."""


class UnknownEngine(_Frame):
    """The door process has not got the engine that it was to ask."""


class StreamStarted(_Frame):
    """The engine's server has begun an event stream; it goes to the client once `StreamLeave` is here."""

    status: int
    headers: Headers


class StreamProgress(_Frame):
    """What has gone to the client since the last of these.

    pieces: of each piece the time, by `time.perf_counter`, which all processes of a machine share, and its events.
    prompt_tokens, completion_tokens: of the whole request so far.
    """

    pieces: list[tuple[float, int]]
    prompt_tokens: int
    completion_tokens: int


class StreamEnded(_Frame):
    """The engine's server has ended the stream."""


class WholeAnswer(_Frame):
    """The engine's server has answered, and not with an event stream. It has not gone to the client."""

    status: int
    headers: Headers
    body: bytes
    prompt_tokens: int
    completion_tokens: int


class EngineError(_Frame):
    """The engine's server has answered with an error, or has not answered."""

    error: ErrorFields


class StreamStopped(_Frame):
    """Nothing more goes from the engine's server to the client."""


# From the main process.


class BodyWanted(_Frame):
    """Send the body."""


class Admitted(_Frame):
    """The request runs: it does not count towards the memory of those that wait any more."""


class ResponseStart(_Frame):
    """The response's beginning, for the client."""

    status: int
    headers: Headers


class ResponseBody(_Frame):
    """A part of the response's body, for the client."""

    part: bytes
    more: bool


class SharedEngine(_Frame):
    """An engine's server, as `RunningEngine.share` describes it."""

    number: int
    description: bytes


class Go(_Frame):
    """Ask the engine's server `number`.

    counted: whether anybody wants the tokens counted.
    """

    number: int
    method: str
    path: str
    query_string: bytes
    headers: Headers
    body: bytes
    counted: bool


class StreamLeave(_Frame):
    """The client has the response's beginning: the stream may go to it."""


class StopStream(_Frame):
    """End what the engine's server was asked."""


class RequestOver(_Frame):
    """Nothing more comes for this request.

    broken: the response cannot be completed; its connection has to be closed.
    """

    broken: bool


class ErrorFields(msgspec.Struct, array_like=True, frozen=True):
    """An `APIError`."""

    message: str
    status: int
    type: str
    param: str | None
    code: str | None
    retry_after: int | None


FromDoor: TypeAlias = (
    RequestHead
    | RequestBody
    | RequestBodyError
    | ClientLeft
    | UnknownEngine
    | StreamStarted
    | StreamProgress
    | StreamEnded
    | WholeAnswer
    | EngineError
    | StreamStopped
)
FromMain: TypeAlias = (
    BodyWanted | Admitted | ResponseStart | ResponseBody | SharedEngine | Go | StreamLeave | StopStream | RequestOver
)
Frame: TypeAlias = FromDoor | FromMain


class ConnectionEnded(Exception):
    """The other process is gone, or has closed the connection."""


class FrameConnection:
    """Frames over a stream; those that come are of the kinds that `decoder` knows."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, decoder: msgspec.msgpack.Decoder[Frame]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = decoder.decode

    async def read(self) -> Frame:
        """The next frame. Raises ConnectionEnded."""
        try:
            length = int.from_bytes(await self._reader.readexactly(_LENGTH_BYTES), "big")
            return self._decode(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, OSError) as error:
            raise ConnectionEnded from error

    def write(self, frame: Frame) -> None:
        """Send a frame, without waiting for room; nothing happens where the other process is gone."""
        content = self._encode(frame)
        self._writer.write(len(content).to_bytes(_LENGTH_BYTES, "big") + content)

    async def drain(self) -> None:
        """Wait until the other process takes what was written."""
        with contextlib.suppress(OSError):  # Whoever reads next learns of it.
            await self._writer.drain()

    def close(self) -> None:
        """Close the connection at once."""
        self._writer.close()
