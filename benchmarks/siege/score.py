"""What one kind of attack came to."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import psutil
from attacks import CHAT, KEY
from posting import post

PEAK_MB = 300
"""What the door may take of memory, whatever is done to it."""

_BODY = json.dumps(CHAT).encode()
_REFUSALS = frozenset({503, 504})
"""Statuses above 499 that say: not now, or not in the time that a request may take. All others mean that something
broke."""


@dataclass
class Score:
    """What one kind of attack came to.

    tried: requests, connections or signals of the attackers.
    served: answers below 400.
    refused: answers that say no (4xx, 503 and 504), and connections that the door ended.
    errors: answers with any other 5xx.
    lost: requests of which nothing was ever heard, although nothing said so.
    peak_mb: the largest resident memory of the door.
    waits: seconds of the neighbour's answers; failed: how many it did not get.
    noticed: seconds until each hang was noticed.
    note: what else there is to say.
    """

    name: str
    tried: int = 0
    served: int = 0
    refused: int = 0
    errors: int = 0
    lost: int = 0
    peak_mb: float = 0
    waits: list[float] = field(default_factory=list)
    failed: int = 0
    noticed: list[float] = field(default_factory=list)
    note: str = ""
    bound_mb: float = PEAK_MB

    def count(self, status: int) -> None:
        """One more attack, by the status of its answer; 0 where the door ended the connection without one."""
        self.tried += 1
        if status in _REFUSALS or 400 <= status < 500 or status == 0:
            self.refused += 1
        elif status >= 500:
            self.errors += 1
        else:
            self.served += 1

    def problems(self) -> list[str]:
        """What should not have happened."""
        problems = []
        if self.errors:
            problems.append(f"{self.errors} errors of the server")
        if self.lost:
            problems.append(f"{self.lost} requests lost")
        if self.peak_mb > self.bound_mb:
            problems.append(f"{self.peak_mb:.0f} MB of memory, where {self.bound_mb:g} are the bound")
        return problems


@contextlib.contextmanager
def watched(score: Score, url: str, pid: int, neighbour: bool = True) -> Iterator[None]:
    """Watches the door's memory, and a neighbour's waits, for the length of a block."""
    over = threading.Event()
    watchers = [threading.Thread(target=_watch_memory, args=(score, pid, over))]
    if neighbour:
        watchers.append(threading.Thread(target=_ask, args=(score, url, over)))
    for watcher in watchers:
        watcher.start()
    try:
        yield
    finally:
        over.set()
        for watcher in watchers:
            watcher.join()


def _watch_memory(score: Score, pid: int, over: threading.Event) -> None:
    process = psutil.Process(pid)
    while not over.wait(0.01):
        with contextlib.suppress(psutil.Error):
            score.peak_mb = max(score.peak_mb, process.memory_info().rss / 1e6)


def _ask(score: Score, url: str, over: threading.Event) -> None:
    while not over.wait(0.1):
        posted = post(f"{url}/v1/chat/completions", _BODY, 60, {"authorization": f"Bearer {KEY}"})
        score.failed += posted.status != 200
        score.waits.append(posted.seconds)


def table(scores: Sequence[Score]) -> list[str]:
    """A line for each."""
    lines = [
        "| attack | tried | served | refused | other 5xx | lost | peak memory of the door, MB | "
        "neighbour's longest wait, s | neighbour not served | hang noticed after, s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for score in scores:
        wait = f"{max(score.waits):.2f}" if score.waits else "-"
        failed = f"{score.failed} of {len(score.waits)}" if score.waits else "-"
        peak = f"{score.peak_mb:.0f}" if score.peak_mb else "-"
        noticed = f"{min(score.noticed):.1f} to {max(score.noticed):.1f}" if score.noticed else "-"
        counts = f"{score.tried:,} | {score.served:,} | {score.refused:,} | {score.errors} | {score.lost}"
        lines.append(f"| {score.name} | {counts} | {peak} | {wait} | {failed} | {noticed} |")
    notes = [f"* **{score.name}**: {score.note}" for score in scores if score.note]
    meaning = (
        "Refused are 4xx, 503, 504, and connections that the door ended. Lost is a request of which "
        "nothing was heard, although nothing said so. The neighbour has a key and asks for three tokens."
    )
    return [*lines, "", meaning, *(["", *notes] if notes else [])]
