"""A worker with several models, and what is measured of it from outside."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from processes import ENGINEROOM, free_port, memory_mb, running, until

from engineroom_operations.load import Ask, HTTPClient, Measurement, OpenAISender

Entry = Mapping[str, Any]
"""A model as MODELS has it."""


class SwapAnswer(NamedTuple):
    """What a client got. status: 200, or what went wrong. first_s, all_s: until the first token and the last."""

    model: int
    status: str
    first_s: float
    all_s: float


class Counts(NamedTuple):
    """What the worker has done since it was started."""

    loads: int
    unloads: int
    failures: int


class SwapWorker:
    """A running worker, whose models are called m0, m1, …"""

    def __init__(self, pid: int, port: int) -> None:
        self.pid = pid
        self._url = f"http://127.0.0.1:{port}"

    def counts(self) -> Counts:
        """Loads and unloads of all models so far."""
        with urllib.request.urlopen(f"{self._url}/health", timeout=10) as response:
            models = json.load(response)["residence"]
        return Counts(*(sum(model[name] for model in models) for name in Counts._fields))

    def memory(self) -> float:
        """MB of the worker and of all that it has started; a process that ends meanwhile is not counted."""
        while True:
            try:
                return memory_mb(self.pid)
            except psutil.NoSuchProcess:
                time.sleep(0.1)

    async def ask_all(self, order: Sequence[int], clients: int, tokens: int) -> list[SwapAnswer]:
        """Clients that each ask for the next model in the order as soon as they have an answer."""
        rest = iter(order)
        answers: list[SwapAnswer] = []
        sender = OpenAISender(HTTPClient(f"{self._url}/v1"), timeout_s=120)

        async def client() -> None:
            for model in rest:
                answers.append(await _ask(sender, model, tokens))

        try:
            await asyncio.gather(*(client() for _ in range(clients)))
        finally:
            await sender.close()
        return answers


async def _ask(sender: OpenAISender, model: int, tokens: int) -> SwapAnswer:
    message = {"role": "user", "content": "one two three four five six seven eight nine ten"}
    body = {"model": f"m{model}", "messages": [message], "max_tokens": tokens}
    measurement = Measurement(time.perf_counter())
    await sender.send(Ask("chat", body), measurement)
    failure = measurement.failure
    if failure is not None:
        return SwapAnswer(model, f"failed: {failure}"[:200], 0, 0)
    return SwapAnswer(model, "200", measurement.ttft_s, measurement.end_to_end_s)


@contextmanager
def worker(
    entries: Sequence[Entry], memory_gb: float, folder: Path, settings: Mapping[str, str] | None = None
) -> Iterator[SwapWorker]:
    """A worker with these models and so much memory for them, ready to serve.

    Args:
        folder: for its log, its table and what it keeps in files meanwhile.
    """
    table = folder / "models.json"
    table.write_text(json.dumps(list(entries)))
    port = free_port()
    environment = {
        "MODELS": str(table),
        "MODELS_MEMORY_GB": f"{memory_gb:g}",
        "PORT": str(port),
        "TMPDIR": str(folder),
        "LOG_LEVEL": "WARNING",
        **(settings or {}),
    }
    log = folder / "worker.log"
    with running([ENGINEROOM, "serve"], environment, log) as child:
        until(f"http://127.0.0.1:{port}/ping", child=child, log=log)
        yield SwapWorker(child.pid, port)
