"""The door with everything on, under clients that do wrong or are many."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import time
from collections.abc import Iterator

import aiohttp
import pytest
from http_door import Door, serving
from http_everything import EVERYTHING, KEY


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with serving(EVERYTHING) as door:
        yield door
        assert "Traceback" not in door.log


async def test_a_thousand_streams_at_once(door: Door) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2500:
        pytest.skip(f"only {hard} open files are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2500), hard))
    body = {"messages": [{"role": "user", "content": "x"}], "stream": True, "ignore_eos": True, "max_tokens": 10}
    body["echo_tokens_per_s"] = 5
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=100), headers=KEY
    ) as session:

        async def one() -> bool:
            async with session.post(f"{door.url}/v1/chat/completions", json=body) as answer:
                return answer.status == 200 and (await answer.read()).endswith(b"data: [DONE]\n\n")

        assert await asyncio.gather(*(one() for _ in range(1000))) == [True] * 1000
        deadline = time.monotonic() + 60
        while (await (await session.get(f"{door.url}/metrics.json")).json())["running"]:
            assert time.monotonic() < deadline, "turns were not given back"
            await asyncio.sleep(0.1)


def test_clients_that_vanish_leave_nothing_running(door: Door) -> None:
    host, port = door.url.removeprefix("http://").split(":")
    fields = {"stream": True, "max_tokens": 100_000, "ignore_eos": True, "echo_tokens_per_s": 20}
    body = json.dumps({"messages": [{"role": "user", "content": "x"}], **fields}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-alice\r\n"
    for _ in range(20):
        with socket.create_connection((host, int(port)), timeout=60) as client:
            client.sendall(head + b"content-length: %d\r\n\r\n" % len(body) + body)
            client.recv(100)
    deadline = time.monotonic() + 60
    while door.metric("engineroom_echo_running"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
