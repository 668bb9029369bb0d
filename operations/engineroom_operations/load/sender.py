"""What sends requests of a load test: one class a kind of target. Here is the one for OpenAI's API."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from .answers import AnswerReceiver
from .failure import RequestFailure
from .http_client import HTTPClient
from .measurement import Measurement

Surface: TypeAlias = Literal["chat", "completions", "embeddings"]

PATHS: Mapping[Surface, str] = {
    "chat": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
}

_STREAM = {"stream": True}
_STREAM_WITH_USAGE = {"stream": True, "stream_options": {"include_usage": True}}


class Ask(NamedTuple):
    """What a request asks for.

    body: the request's fields. The sender adds `model`, `stream` and `stream_options` where they are not in it.
    """

    surface: Surface
    body: Mapping[str, Any]


class Sender(ABC):
    """Sends requests to one target. Another kind of target is another class: the loop knows only this one.

    asks_for_usage: whether streams are asked to end with the server's own count of tokens. Some servers refuse that.
    """

    asks_for_usage: bool = True

    @abstractmethod
    async def send(self, ask: Ask, measurement: Measurement) -> None:
        """Send one request, and note in the measurement what arrives, and when, until it ends.

        Sets `sent` and `ended`, too. A failure is set in the measurement, not raised, so that what had arrived before
        it stays.
        """

    @abstractmethod
    async def prepare(self, streams: int) -> None:
        """Have connections for this many requests at once, so that the first ones do not wait for theirs.

        Raises:
            RequestFailure: there are none to be had.
        """

    @abstractmethod
    async def close(self) -> None:
        """Close what is open."""


class OpenAISender(Sender):
    """Sends requests of OpenAI's API.

    Args:
        client: of the API's base URL, which ends in `/v1`; closed with this.
        model: of every request that names none.
        stream: whether answers are to stream.
        fields: of every request, e.g. `ignore_eos`.
        timeout_s: seconds within which an answer has to be complete.
    """

    def __init__(
        self,
        client: HTTPClient,
        model: str = "",
        *,
        stream: bool = True,
        fields: Mapping[str, Any] | None = None,
        timeout_s: float = 600,
    ) -> None:
        self.client = client
        self.timeout_s = timeout_s
        self._common: dict[str, Any] = {"model": model} if model else {}
        self._common |= fields or {}
        self._stream = stream
        self._encode = msgspec.json.Encoder().encode

    async def send(self, ask: Ask, measurement: Measurement) -> None:
        streaming: dict[str, Any] = {}
        if self._stream and ask.surface != "embeddings":
            streaming = _STREAM_WITH_USAGE if self.asks_for_usage else _STREAM
        body = self._encode({**self._common, **streaming, **ask.body})
        request = self.client.request("POST", PATHS[ask.surface], body)
        receiver = AnswerReceiver(measurement)
        measurement.sent = time.perf_counter()
        try:
            await self.client.exchange(request, receiver, self.timeout_s)
            measurement.ended = time.perf_counter()
            receiver.finish(measurement.ended)
        except RequestFailure as failure:
            measurement.ended = time.perf_counter()
            measurement.failure = failure

    async def prepare(self, streams: int) -> None:
        await self.client.open(streams)

    async def close(self) -> None:
        self.client.close()
