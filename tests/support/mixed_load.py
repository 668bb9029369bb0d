"""Clients of every kind at once, good and bad, without an end; and what the door's process looks like meanwhile."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

SETTINGS = {
    "API_KEYS": "alice:sk-alice,bob:sk-bob",
    "METRICS_OPEN": "1",
    "CORS_ORIGINS": "*",
    "SECURITY_HEADERS": "1",
    "MAX_CONCURRENT_REQUESTS": "24",
    "MAX_CONCURRENT_REQUESTS_PER_KEY": "20",
    "REQUESTS_PER_MINUTE": "1000000",
    "TOKENS_PER_MINUTE": "1000000000",
    "BREAKER_FAILURES": "1000",
    "ENGINE_RESTARTS": "3",
    "CACHE_TTL": "5",
    "CACHE_MAX_MB": "1",
    "ACCESS_LOG": "1",
    "LOG_LEVEL": "WARNING",
    "PAGE": "1",
    "BODY_TIMEOUT": "1",
    "CLIENT_TIMEOUT": "2",
    "ECHO_TTFT_MS": "5",
    "ECHO_TOKENS_PER_S": "500",
}
"""A door with every layer on, some of whose limits are met."""

CHAT = "/v1/chat/completions"
_LONG = {"max_tokens": 5000, "ignore_eos": True}


class Sample(NamedTuple):
    """One look at a process: memory in MB, open files, threads, and the door's own count of asyncio tasks."""

    seconds: float
    requests: int
    memory: float
    files: int
    threads: int
    tasks: int


class MixedLoad:
    """So many clients, each of which does one thing after another, chosen at random.

    done: how often what was done, by its kind and outcome.
    """

    def __init__(self, url: str, pid: int, clients: int = 32, seed: int = 7) -> None:
        self._url = url
        self._pid = pid
        self._clients = clients
        self._random = random.Random(seed)
        self.done: Counter[str] = Counter()
        self._kinds: list[tuple[int, Callable[[aiohttp.ClientSession], Awaitable[str]]]] = [
            (20, self._stream),
            (20, self._whole),
            (15, self._cached),
            (5, self._unlike),
            (5, self._embedding),
            (8, self._leaves),
            (8, self._impatient),
            (8, self._vanishes),
            (4, self._slow_reader),
            (2, self._stalls),
            (8, self._wrong),
            (3, self._broken_engine),
            (3, self._looks),
        ]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The load, for as long as the block lasts; then what is under way ends by itself."""
        going = asyncio.Event()
        going.set()
        async with self._session() as session:
            clients = [asyncio.ensure_future(self._client(session, going)) for _ in range(self._clients)]
            try:
                yield
            finally:
                going.clear()
                await asyncio.gather(*clients)

    async def sample(self, began: float) -> Sample:
        """Look at the door's process now."""
        proc = Path(f"/proc/{self._pid}")
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines() if ":" in line)
        async with self._session() as session, session.get(f"{self._url}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        tasks = next(line.split()[1] for line in lines if line.startswith("engineroom_process_tasks "))
        return Sample(
            asyncio.get_running_loop().time() - began,
            self.done.total(),
            int(status["VmRSS"].split()[0]) / 1024,
            len(list((proc / "fd").iterdir())),
            int(status["Threads"]),
            int(float(tasks)),
        )

    async def quiet(self, seconds: float = 30) -> None:
        """Return once nothing is under way in the door any more."""
        deadline = asyncio.get_running_loop().time() + seconds
        async with self._session() as session:
            while True:
                async with session.get(f"{self._url}/metrics.json") as answer:
                    now = await answer.json()
                if not now["running_now"] and not now["running"] and not now["waiting"]:
                    return
                assert asyncio.get_running_loop().time() < deadline, f"still running: {now['running_now']}"
                await asyncio.sleep(0.1)

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=60))

    async def _client(self, session: aiohttp.ClientSession, going: asyncio.Event) -> None:
        weights, kinds = zip(*self._kinds, strict=True)
        while going.is_set():
            kind = self._random.choices(kinds, weights)[0]
            try:
                outcome = await kind(session)
            except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
                outcome = type(error).__name__
            self.done[f"{kind.__name__.strip('_')}: {outcome}"] += 1

    def _body(self, text: str = "", **fields: Any) -> dict[str, Any]:
        text = text or "word " * self._random.randint(1, 60)
        return {"model": "echo", "messages": [{"role": "user", "content": text}], **fields}

    def _headers(self) -> dict[str, str]:
        return {"authorization": self._random.choice(["Bearer sk-alice", "Bearer sk-bob"])}

    async def _post(
        self, session: aiohttp.ClientSession, body: Mapping[str, Any] | bytes, path: str = CHAT, **headers: str
    ) -> str:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with session.post(self._url + path, data=data, headers={**self._headers(), **headers}) as answer:
            await answer.read()
            return str(answer.status)

    async def _stream(self, session: aiohttp.ClientSession) -> str:
        return await self._post(session, self._body(stream=True, stream_options={"include_usage": True}))

    async def _whole(self, session: aiohttp.ClientSession) -> str:
        return await self._post(session, self._body(n=self._random.randint(1, 3)))

    async def _cached(self, session: aiohttp.ClientSession) -> str:
        text = f"number {self._random.randint(1, 20)}"
        return await self._post(session, self._body(text, temperature=0, stream=self._random.random() < 0.5))

    async def _unlike(self, session: aiohttp.ClientSession) -> str:
        return await self._post(session, self._body(f"{self._random.random()} " + "x" * 2000, temperature=0))

    async def _embedding(self, session: aiohttp.ClientSession) -> str:
        return await self._post(session, {"input": [str(self._random.random())] * 5}, "/v1/embeddings")

    async def _leaves(self, session: aiohttp.ClientSession) -> str:
        body = json.dumps(self._body(stream=True, **_LONG)).encode()
        async with session.post(self._url + CHAT, data=body, headers=self._headers()) as answer:
            await answer.content.readany()
        return "left"

    async def _impatient(self, session: aiohttp.ClientSession) -> str:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._post(session, self._body(**_LONG)), self._random.uniform(0.01, 0.2))
        return "left"

    async def _vanishes(self, session: aiohttp.ClientSession) -> str:
        """A connection that is reset amid a stream."""
        reader, writer = await self._raw(self._body(stream=True, **_LONG))
        await reader.read(100)
        opened = writer.get_extra_info("socket")
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()
        return "reset"

    async def _slow_reader(self, session: aiohttp.ClientSession) -> str:
        reader, writer = await self._raw(self._body(stream=True, **_LONG, echo_tokens_per_s=100_000), slowly=True)
        for _ in range(5):
            await reader.read(64)
            await asyncio.sleep(0.2)
        writer.close()
        return "left"

    async def _stalls(self, session: aiohttp.ClientSession) -> str:
        """A request whose body never becomes whole."""
        reader, writer = await self._raw(b'{"messages"', length=1000)
        answer = await reader.read(1000)
        writer.close()
        return answer.split(b" ", 2)[1].decode() if answer else "nothing"

    async def _wrong(self, session: aiohttp.ClientSession) -> str:
        kind = self._random.randint(0, 4)
        if kind == 0:
            return await self._post(session, b'{"messages": [')
        if kind == 1:
            return await self._post(session, self._body(model=f"unknown-{self._random.random()}"))
        if kind == 2:
            return await self._post(session, self._body(), authorization=f"Bearer sk-{self._random.random()}")
        if kind == 3:
            return await self._post(session, self._body(), f"/v1/invented-{self._random.random()}")
        reader, writer = await asyncio.open_connection(*self._address())
        writer.write(b"what is this?\r\n\r\n")
        answer = await reader.read(1000)
        writer.close()
        return answer.split(b" ", 2)[1].decode() if answer else "nothing"

    async def _broken_engine(self, session: aiohttp.ClientSession) -> str:
        return await self._post(session, self._body(stream=True, echo_fault="error", echo_fault_after=3))

    async def _looks(self, session: aiohttp.ClientSession) -> str:
        path = self._random.choice(["/", "/health", "/metrics", "/metrics.json", "/v1/models", "/ping"])
        async with session.get(self._url + path, headers=self._headers()) as answer:
            await answer.read()
            return str(answer.status)

    async def _raw(
        self, body: Mapping[str, Any] | bytes, slowly: bool = False, length: int | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        opened = socket.socket()
        if slowly:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        opened.setblocking(False)
        await asyncio.get_running_loop().sock_connect(opened, self._address())
        reader, writer = await asyncio.open_connection(sock=opened, limit=1024)
        head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-bob\r\n"
        writer.write(f"{head}content-length: {length or len(data)}\r\n\r\n".encode() + data)
        return reader, writer

    def _address(self) -> tuple[str, int]:
        host, _, port = self._url.removeprefix("http://").partition(":")
        return host, int(port)
