"""Rounds of streams to one server, or to several in turn, and what a client sees of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from processes import cpu_seconds
from rich.console import Console
from rich.progress import Progress

from engineroom_operations.load import Ask, Extent, HTTPClient, LoadLoop, Measurement, OpenAISender

MEANING = (
    "Tokens are those that the server counts (`usage`); the time to first token (TTFT) ends with the first event that "
    "has text in it."
)
"""What a results page has to say of its figures."""

_TIMEOUT_S = 600


@dataclass
class Round:
    """What one round of streams gave: tokens, seconds, each stream's seconds to its first token, and CPU seconds of
    the process that was watched."""

    tokens: int
    seconds: float
    first: list[float] = field(default_factory=list)
    cpu_seconds: float = 0

    @property
    def rate(self) -> float:
        """Tokens a second, all streams together."""
        return self.tokens / self.seconds

    @property
    def ttft_ms(self) -> float:
        """Of the median stream."""
        return 1000 * statistics.median(self.first)

    @property
    def cpu_us(self) -> float:
        """CPU of the watched process in µs a token."""
        return 1e6 * self.cpu_seconds / self.tokens


class ChatServer:
    """A server of OpenAI's API: on a port of this machine, or on the Unix socket at a path.

    Args:
        base: what stands before `/chat/completions`.
        keep: whether connections are kept for the next round.
    """

    def __init__(
        self, at: int | Path, headers: Mapping[str, str] | None = None, base: str = "/v1", keep: bool = True
    ) -> None:
        host, socket = (f"127.0.0.1:{at}", "") if isinstance(at, int) else ("localhost", str(at))
        client = HTTPClient(f"http://{host}{base}", headers, socket_path=socket, keep=keep)
        self._sender = OpenAISender(client, timeout_s=_TIMEOUT_S)
        self._client = client

    async def round(self, bodies: Sequence[Mapping[str, Any]], watched: int | None = None) -> Round:
        """Send all requests at once, each on a connection of its own that stands already, and wait for their ends.

        Args:
            bodies: the requests' fields; each is asked to stream, and for its usage.
            watched: the process whose CPU is counted.

        Raises:
            RequestFailure: one of them failed.
        """
        await self._sender.prepare(len(bodies))
        ended: list[Measurement] = []
        loop = LoadLoop(self._sender, (Ask("chat", body) for body in bodies), Measurement, ended.append)
        before = _cpu_seconds(watched)
        began = time.perf_counter()
        await loop.closed(len(bodies), Extent())
        seconds = time.perf_counter() - began
        cpu = _cpu_seconds(watched) - before
        for measurement in ended:
            if measurement.failure is not None:
                raise measurement.failure
        return Round(sum(one.tokens for one in ended), seconds, [one.ttft_s for one in ended], cpu)

    def close(self) -> None:
        """Close the connections that are kept."""
        self._client.close()


def _cpu_seconds(pid: int | None) -> float:
    return 0 if pid is None else cpu_seconds(pid)


async def compare(
    label: str,
    targets: Mapping[str, tuple[ChatServer, int | None]],
    plans: Mapping[int, Mapping[str, object]],
    rounds: int,
    console: Console,
) -> dict[tuple[int, str], list[Round]]:
    """Rounds of streams against each target in turn, by number of streams and target; each round begins with another.

    Args:
        targets: by name, each with the process whose CPU is counted.
        plans: what to ask, by the number of streams at once.
    """
    results: dict[tuple[int, str], list[Round]] = {(n, name): [] for n in plans for name in targets}
    names = list(targets)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(label, total=(rounds + 1) * len(plans) * len(targets))
        for number in range(rounds + 1):
            first = number % len(names)
            if not console.is_terminal:
                console.print(f"{label}: round {number} of {rounds}", markup=False)
            for streams, body in plans.items():
                for name in (*names[first:], *names[:first]):
                    server, watched = targets[name]
                    result = await server.round([body] * streams, watched)
                    if number:  # The first round warms up.
                        results[streams, name].append(result)
                    progress.advance(task)
    return results


def median(results: Sequence[Round], what: str) -> float:
    """Of one of the results' figures, by its name."""
    return statistics.median(getattr(result, what) for result in results)
