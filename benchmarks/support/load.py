"""The load: streams of chat completions over raw sockets, and what a client sees of them."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from processes import cpu_seconds
from rich.console import Console
from rich.progress import Progress

console = Console()


@dataclass
class Result:
    """What one round of streams gave: tokens (SSE events), seconds, and each stream's time to first token."""

    tokens: int = 0
    seconds: float = 0
    first: list[float] = field(default_factory=list)
    cpu_seconds: float = 0

    @property
    def rate(self) -> float:
        return self.tokens / self.seconds

    @property
    def ttft_ms(self) -> float:
        return 1000 * statistics.median(self.first)

    @property
    def cpu_us(self) -> float:
        """CPU of the watched process in µs a token."""
        return 1e6 * self.cpu_seconds / self.tokens


class _Client(asyncio.Protocol):
    """One stream on a connection that is kept for the next."""

    def __init__(self) -> None:
        self.done: asyncio.Future[None] | None = None
        self.tokens = 0
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def start(self, request: bytes) -> asyncio.Future[None]:
        self.done = asyncio.get_running_loop().create_future()
        self.tokens, self.first, self.tail = 0, 0.0, b""
        self.began = time.perf_counter()
        self.transport.write(request)
        return self.done

    def data_received(self, data: bytes) -> None:
        if b'"content":' in data and not self.first:
            self.first = time.perf_counter() - self.began
        # An event may be split over two reads; the six bytes kept are one less than the mark that is counted.
        self.tokens += (self.tail[-6:] + data).count(b"data: {")
        self.tail = (self.tail + data)[-64:]
        whole = self.tail.endswith(b"0\r\n\r\n") and b"[DONE]" in self.tail
        if whole and self.done is not None and not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        if self.done is not None and not self.done.done():
            self.done.set_exception(ConnectionError(f"cut off after {self.tokens} tokens: {self.tail!r}"))


class Load:
    """Kept-alive connections to one server: on a port of this machine, or on the Unix socket at a path.

    Args:
        base: what stands before `/chat/completions`.
        keep: whether connections are kept for the next round.
    """

    def __init__(
        self, at: int | Path, headers: Mapping[str, str] | None = None, base: str = "/v1", keep: bool = True
    ) -> None:
        self.at = at
        self.base = base
        self.keep = keep
        self.headers = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        self.clients: list[_Client] = []

    async def round(self, streams: int, body: Mapping[str, Any], watched: int | None = None) -> Result:
        """Run `streams` at once to their ends.

        Args:
            watched: the process whose CPU is counted.
        """
        loop = asyncio.get_running_loop()
        # Servers close a connection that was idle for some seconds, as it is while other targets have their turn.
        self.clients = [client for client in self.clients if not client.lost]
        while len(self.clients) < streams:
            if isinstance(self.at, int):
                _, client = await loop.create_connection(_Client, "127.0.0.1", self.at)
            else:
                _, client = await loop.create_unix_connection(_Client, str(self.at))
            self.clients.append(client)
        encoded = json.dumps({**body, "stream": True}).encode()
        request = (
            f"POST {self.base}/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            f"{self.headers}content-length: {len(encoded)}\r\n\r\n"
        ).encode() + encoded
        before, began = _cpu_seconds(watched), time.perf_counter()
        clients = self.clients[:streams]
        await asyncio.wait_for(asyncio.gather(*(client.start(request) for client in clients)), 300)
        result = Result(
            tokens=sum(client.tokens for client in clients),
            seconds=time.perf_counter() - began,
            first=[client.first for client in clients],
            cpu_seconds=_cpu_seconds(watched) - before,
        )
        if not self.keep:
            self.close()
        return result

    def close(self) -> None:
        for client in self.clients:
            client.transport.close()
        self.clients.clear()


def _cpu_seconds(pid: int | None) -> float:
    return 0 if pid is None else cpu_seconds(pid)


async def compare(
    label: str, targets: Mapping[str, tuple[Load, int | None]], plans: Mapping[int, Mapping[str, object]], rounds: int
) -> dict[tuple[int, str], list[Result]]:
    """Rounds of streams against each target in turn, by number of streams and target.

    Args:
        targets: by name, each with the process whose CPU is counted.
        plans: what to ask, by the number of streams at once.
    """
    results: dict[tuple[int, str], list[Result]] = {(n, name): [] for n in plans for name in targets}
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(label, total=(rounds + 1) * len(plans) * len(targets))
        for number in range(rounds + 1):
            for streams, body in plans.items():
                for name, (load, watched) in targets.items():
                    result = await load.round(streams, body, watched)
                    if number:  # The first round warms up.
                        results[streams, name].append(result)
                    progress.advance(task)
    return results


def median(results: Sequence[Result], what: str) -> float:
    """Of one of the results' figures, by its name."""
    return statistics.median(getattr(result, what) for result in results)
