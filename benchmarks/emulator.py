"""How many stream POSTs a second the emulator takes, so that it is known not to be the limit of what it measures.

    python benchmarks/emulator.py            # prints a Markdown table

The load comes from this process, over as many kept-alive connections as there are streams, each sending its next
POST as soon as the last one is answered, with the headers of RunPod's SDK. The emulator is a process of its own. It
answers a POST in less time than the load code of `engineroom bench` takes to send one, so that this program has a
sender that does nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import httpx
import uvloop

SECONDS = 3.0
CASES = [(1, 64, 0), (30, 64, 0), (200, 64, 0), (200, 1024, 0), (200, 64, 20), (200, 64, 50)]
HEADERS = (
    "Host: 127.0.0.1\r\nAuthorization: emulated\r\nUser-Agent: RunPod-Python-SDK/1.12.0\r\n"
    "Accept: */*\r\nAccept-Encoding: gzip, deflate\r\nX-Request-ID: {job}\r\ncharset: utf-8\r\n"
    "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n"
)


class Stream(asyncio.Protocol):
    """One stream: sends the same POST again and again, and notes how long each took."""

    def __init__(self, request: bytes, times: list[float]) -> None:
        self.request = request
        self.times = times
        self.received = b""
        self.sent_at = 0.0
        self.transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)
        self.send()

    def send(self) -> None:
        assert self.transport is not None
        self.sent_at = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        if b"\r\n\r\n" in self.received:
            assert self.received.startswith(b"HTTP/1.1 200"), self.received
            self.received = b""
            self.times.append(time.perf_counter() - self.sent_at)
            self.send()


@contextlib.contextmanager
def emulator(rtt_ms: int) -> Iterator[tuple[int, str]]:
    """An emulator's process id and its endpoint's URL."""
    command = [
        str(Path(sys.executable).with_name("engineroom")),
        "emulate",
        "--port",
        "0",
        "--quiet",
        "--rtt",
        str(rtt_ms),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.pid, next(filter(None, map(re.compile(r"endpoint +(http\S+)").search, process.stdout)))[1]
        finally:
            process.terminate()


async def measure(streams: int, size: int, rtt_ms: int) -> str:
    """One row of the table."""
    with emulator(rtt_ms) as (pid, endpoint):
        async with httpx.AsyncClient(base_url=endpoint) as client:
            jobs = [(await client.post("/run", json={"input": {}})).json()["id"] for _ in range(streams)]
            await client.get(f"/job-take-batch/w1?batch_size={streams}")
        times: list[float] = []
        cpu, started = cpu_seconds(pid), time.perf_counter()
        transports = []
        url = httpx.URL(endpoint)
        for job in jobs:
            stream = functools.partial(Stream, request(job, size), times)
            transport, _ = await asyncio.get_running_loop().create_connection(stream, url.host, url.port or 80)
            transports.append(transport)
        await asyncio.sleep(SECONDS)
        posts, elapsed = len(times), time.perf_counter() - started
        cpu = cpu_seconds(pid) - cpu
        for transport in transports:
            transport.abort()
    times.sort()
    quantiles = (f"{times[int(posts * part)] * 1000:.1f}" for part in (0.5, 0.99))
    figures = [streams, size, rtt_ms, f"{posts / elapsed:.0f}", *quantiles, f"{cpu / posts * 1e6:.0f}"]
    return "| " + " | ".join(map(str, figures)) + " |"


def request(job: str, size: int) -> bytes:
    """A job-stream POST of `size` characters."""
    body = json.dumps({"output": "x" * size}).encode()
    head = f"POST /v2/emulated/job-stream/w1/{job}?gpu=x&isStream=false HTTP/1.1\r\n"
    return (head + HEADERS.format(job=job, length=len(body)) + "\r\n").encode() + body


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def main() -> None:
    print("| streams | bytes | RTT ms | POSTs/s | p50 ms | p99 ms | emulator CPU us/POST |")
    print("|---|---|---|---|---|---|---|")
    for case in CASES:
        print(await measure(*case), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
