"""The kinds of attack, each on a door of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import signal
import tempfile
import threading
import time
import zlib
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil
from attacks import CHAT, KEY, body_of, connect, head, post, send, status, uploads
from bench import default_limits
from hangs import Noticed, at_http, on_queue
from http_door import Door, serving
from kills import DRAIN_S, OUTAGE_S, PLATFORMS, judge, run
from mixed_load import SETTINGS, MixedLoad
from redis_server import RedisServer
from rich.console import Console
from score import Score, watched
from shapes import SHAPES

DEFAULT = {"API_KEYS": KEY, "METRICS_OPEN": "1", "LOG_LEVEL": "WARNING", "BODY_TIMEOUT": "5"}
MEGABYTE = 1_000_000


class Battle(NamedTuple):
    """One kind of attack.

    share: its share of all the time. wage: attacks for so many seconds. long_share: its share where there is much
    time; `share` by default.
    """

    name: str
    share: int
    wage: Callable[[float], Score]
    long_share: int = 0

    def share_of(self, quick: bool) -> int:
        """Its share of a quick siege, or of a whole one."""
        return self.share if quick or not self.long_share else self.long_share


@contextlib.contextmanager
def attacked(name: str, env: Mapping[str, str] | None = None) -> Iterator[tuple[Door, Score]]:
    """A door under attack, watched."""
    score = Score(name)
    with serving({**DEFAULT, **(env or {})}, seconds=120) as door:
        with watched(score, door.url, door.process.pid):
            yield door, score
        assert "Traceback" not in door.log, door.log[-3000:]


def _until(seconds: float) -> Iterator[int]:
    """Numbers, for so many seconds; at least one."""
    deadline = time.monotonic() + seconds
    number = 0
    while number == 0 or time.monotonic() < deadline:
        yield number
        number += 1


TRAILERS = (b"x-a: b\r\n" * 10_000, b"a" * 65536)
_CHUNKED = "transfer-encoding: chunked\r\n\r\n"


def trailers(seconds: float) -> Score:
    """Chunked bodies, and trailers or chunk extensions behind them without an end; every other without a key."""
    with attacked("trailers without end") as (door, score):
        for number in _until(seconds):
            key = KEY if number % 2 else ""
            begun = b"2;x=" if number % 3 == 2 else b"2\r\n{}\r\n0\r\nx-first: "
            with connect(door.url) as client:
                send(client, head(key, _CHUNKED) + begun)
                taken = send(client, TRAILERS[number // 2 % 2], 1600)
                answer = status(client)
                # A 401 is there before the trailers; what counts is that the rest of them was not taken.
                score.count(200 if taken else answer)
    return score


def heads(seconds: float) -> Score:
    """Thousands of heads that are never whole."""
    with attacked("heads that are never whole") as (door, score):
        for number in _until(seconds):
            line = (b"a: b\r\n", b"x-%b: y\r\n" % (b"a" * 1000))[number % 2]
            with uploads(door.url, [head() + line * (250_000 // len(line))] * 500) as clients:
                _count_now(score, clients)
    return score


def _count_now(score: Score, clients: Sequence[object]) -> None:
    """Count what has been answered; those that still wait count as held off."""
    for client in clients:
        client.setblocking(False)  # type: ignore[attr-defined]
        try:
            score.count(status(client))  # type: ignore[arg-type]
        except BlockingIOError:
            score.count(0)


def open_uploads(seconds: float) -> Score:
    """Thirty uploads of 30 MB that are never whole, with one place for a request to run."""
    with attacked("uploads that stay open, 30 of 30 MB", {"MAX_CONCURRENT_REQUESTS": "1"}) as (door, score):
        asked = post(body_of(30 * MEGABYTE))[:-1]
        for _ in _until(seconds):
            with uploads(door.url, [asked] * 30) as clients:
                _count_now(score, clients)
    return score


def aborted_uploads(seconds: float) -> Score:
    """Uploads of 25 MB whose clients leave before their end."""
    with attacked("uploads that are aborted, 25 MB each") as (door, score):
        asked = post(body_of(25 * MEGABYTE))[:-1]
        for _ in _until(seconds):
            with connect(door.url) as client:
                send(client, asked)
            score.count(0)
    return score


def running_bodies(seconds: float) -> Score:
    """Whole requests of 30 MB at the same time, where nothing says how many may run."""
    # What is large in them is one text.
    with attacked("30 whole requests of 30 MB at a time", {"MAX_PROMPT_CHARACTERS": "0"}) as (door, score):
        asked = post(body_of(30 * MEGABYTE, echo_ttft_ms=500))
        for _ in _until(seconds):
            with uploads(door.url, [asked] * 30) as clients:
                for client in clients:
                    score.count(status(client))
    return score


JSON_VALUES = (b'{"a":0}', b'{"":{}}', b"[[]]", b'""', b"1.5", b"[" * 200 + b"]" * 200, b'"\\ud800"', b"1e999", b"{")


def json_bombs(seconds: float) -> Score:
    """JSON that takes many times its size in memory, is too deep, or is none."""
    with attacked("JSON that unpacks to much") as (door, score):
        for number in _until(seconds):
            value = JSON_VALUES[number % len(JSON_VALUES)]
            many = b",".join([value] * (20 * MEGABYTE // (len(value) + 1)))
            body = b'{"messages":[{"role":"user","content":"Hello"}],"metadata":[%b]}' % many
            with uploads(door.url, [post(body)] * 2) as clients:
                for client in clients:
                    score.count(status(client))
    return score


_SMUGGLED = b"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\n\r\n" % KEY.encode()
"""A good request behind one that must end the connection; whoever answers it has been tricked."""
RAW = (
    b"\0" * 4096,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 200,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /ping\r\n\r\n",
    b"GET /ping HTTP/9.9\r\nhost: x\r\n\r\n",
    b"GET /ping HTTP/1.1\r\n\r\n",
    b"GET /ping HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n" + _SMUGGLED,
    b"GET /ping HTTP/1.1\r\nhost: a b\r\n\r\n",
    b"GET /ping HTTP/1.1\r\nhost : x\r\n\r\n",
    b"GET /ping HTTP/1.1\r\nhost: x\r\n folded: y\r\n\r\n",
    b"GET /ping HTTP/1.1\nhost: x\n\n" + b"\xff" * 100,
    b"GET /" + b"%2e%2e%2f" * 5000 + b"etc/passwd HTTP/1.1\r\nhost: x\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n",
    head("", "content-length: 5\r\ncontent-length: 6\r\n\r\n") + b"hello!" + _SMUGGLED,
    head("", "transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n") + b"0\r\n\r\n" + _SMUGGLED,
    head("", "transfer-encoding: x, chunked\r\n\r\n") + b"0\r\n\r\n",
    head("", "transfer-encoding: chunked, x\r\n\r\n") + b"0\r\n\r\n" + _SMUGGLED,
    head("", "transfer-encoding: chunked\r\n\r\n") + b"ffffffffffffffffff\r\n",
    head("", "transfer-encoding: chunked\r\n\r\n") + b"2\r\n{}xx0\r\n\r\n" + _SMUGGLED,
    head("", "transfer-encoding: chunked\r\n\r\n") + b"-1\r\n",
    head("wrong\x00key", "\r\n"),
    b"CONNECT elsewhere:443 HTTP/1.1\r\nhost: elsewhere:443\r\n\r\n",
    b"GET http://169.254.169.254/ HTTP/1.1\r\nhost: 169.254.169.254\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n",
)


def raw_sockets(seconds: float) -> Score:
    """What is almost HTTP, or two requests in one; none of it has a key, so nothing but a refusal may come back."""
    with attacked("what is almost HTTP") as (door, score):
        for number in _until(seconds):
            with connect(door.url) as client:
                send(client, RAW[number % len(RAW)])
                with contextlib.suppress(OSError):
                    client.shutdown(1)
                answer = _all_of(client)
            score.errors += b'"object":"list"' in answer
            for code in re.findall(rb"HTTP/1\.1 (\d\d\d)", answer) or [b"0"]:
                score.count(int(code))
    score.note = (
        f"{len(RAW)} kinds, some with a good request hidden behind them, which nobody may answer; `/ping` needs no "
        "key, so some of its forms are served"
    )
    return score


def _all_of(client: object) -> bytes:
    answer = b""
    with contextlib.suppress(OSError):
        while part := client.recv(65536):  # type: ignore[attr-defined]
            answer += part
    return answer


def shapes(seconds: float) -> Score:
    """Requests to llama.cpp as large as its limits let them be, and ten times that."""
    env = {"ENGINE": "llamacpp", "THREADS": "1", "CTX_SIZE": "2048", "PARALLEL": "2", "REQUEST_TIMEOUT": "60"}
    limits = default_limits("llamacpp")
    asked = [
        shape.make(limits[shape.setting] * shape.unit * factor)
        for factor in (1, 10)
        for shape in SHAPES
        if "llamacpp" in shape.engines
    ]
    with attacked("schemas, grammars and the like, to llama.cpp", env) as (door, score):
        deadline = time.monotonic() + seconds
        with httpx.Client(base_url=door.url, headers={"authorization": f"Bearer {KEY}"}, timeout=90) as client:
            # Spread over all of them, however few there is time for.
            for body in sorted(asked, key=lambda body: zlib.crc32(json.dumps(body).encode())):
                if time.monotonic() > deadline:
                    break
                try:
                    score.count(client.post("/v1/chat/completions", json=body).status_code)
                except httpx.TimeoutException:
                    score.tried += 1
                    score.lost += 1
    return score


def redis_faults(seconds: float) -> Score:
    """Clients of every kind, good and bad, while Redis is stopped and started again and again."""
    return asyncio.run(_redis_faults(seconds))


async def _redis_faults(seconds: float) -> Score:
    score = Score("mixed clients, Redis coming and going")
    with tempfile.TemporaryDirectory() as folder:
        redis = RedisServer(Path(folder))
        try:
            with serving({**SETTINGS, "REDIS_URL": redis.url}) as door:
                load = MixedLoad(door.url, door.process.pid)
                with watched(score, door.url, door.process.pid, False):
                    async with load.running():
                        for number in _until(seconds):
                            await asyncio.sleep(2)
                            await asyncio.to_thread(redis.start if number % 2 else redis.stop)
                    await load.quiet()
                for what, times in load.done.items():
                    _count_outcome(score, what.partition(": ")[2], times)
        finally:
            redis.stop()
    score.note = "the engine breaks off answers on purpose in some of them, which are among the refused"
    return score


def _count_outcome(score: Score, outcome: str, times: int) -> None:
    """Outcomes of a mixed load are statuses, or words for what the client itself did."""
    score.tried += times
    if outcome == "500":
        score.errors += times
    elif outcome.isdigit() and int(outcome) < 400:
        score.served += times
    elif outcome.isdigit():
        score.refused += times
    else:
        score.served += times


def kills(seconds: float) -> Score:
    """llama.cpp is killed amid answers, and started again by the door."""
    score = Score("llama.cpp killed amid answers")
    count = 0
    for _ in _until(seconds):
        # A door of its own for a few: it waits longer from death to death.
        with serving({**DEFAULT, **_KILLED}, seconds=120) as door, watched(score, door.url, door.process.pid, False):
            for _ in range(_KILLS):
                _kill_once(door, score)
                door.until(200, 90)
        count += _KILLS
    score.note = (
        f"{count} kills. A request of which nothing was sent is tried again; one that is told of the death (500, 502, "
        "503) counts as refused"
    )
    return score


_KILLED = {"ENGINE": "llamacpp", "THREADS": "1", "CTX_SIZE": "2048", "PARALLEL": "2", "ENGINE_RESTARTS": "9"}
_KILLS = 3


def _kill_once(door: Door, score: Score) -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    body = {**CHAT, "max_tokens": 40, "ignore_eos": True}
    statuses: list[int] = []

    def ask() -> None:
        try:
            answer = httpx.post(f"{door.url}/v1/chat/completions", json=body, headers=headers, timeout=180)
            statuses.append(answer.status_code)
        except httpx.TransportError:
            statuses.append(0)

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for thread in asking:
        thread.start()
    time.sleep(0.2)
    for child in psutil.Process(door.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if child.parent().pid != door.process.pid:  # The reaper stays.
                child.send_signal(signal.SIGKILL)
    for thread in asking:
        thread.join()
    for code in statuses:
        score.tried += 1
        score.served += code == 200
        score.refused += code in (500, 502, 503)
        score.lost += code == 0
        score.errors += code not in (0, 200, 500, 502, 503)


_KILLS_A_SECOND = 1.5
"""As many as two cores are good for, on four platforms."""
_LONG_S = 120
"""With so many seconds there is time for an outage, too."""


def queue_kills(seconds: float) -> Score:
    """Queue workers killed at random moments, on all four kinds of platform, one POST in three failing, and where there
    is time for it all of them for twenty seconds."""
    # No kill comes after `limit` less the time that the last of the workers may take for their ends.
    limit = seconds + 2 * DRAIN_S
    outage = OUTAGE_S if seconds >= _LONG_S else 0
    each = max(1, int(seconds * (_KILLS_A_SECOND if outage else 0.1) / len(PLATFORMS)))
    options = Namespace(kills=each * len(PLATFORMS), workers=3 if outage else 2, outage=outage, limit=limit)
    logging.disable(logging.WARNING)  # That a worker is gone is no news here.
    try:
        sieges = asyncio.run(asyncio.wait_for(run(options, Console(quiet=True)), limit + DRAIN_S))
    finally:
        logging.disable(logging.NOTSET)
    score = Score("queue workers killed, a POST in three failing")
    for outcome in map(judge, sieges):
        score.tried += outcome.completed + outcome.failed + outcome.lost
        score.served += outcome.completed
        score.refused += outcome.failed
        score.lost += outcome.lost
        score.errors += outcome.wrong + outcome.still_doubled
    count = sum(siege.kills.total() for siege in sieges)
    away = f", and on each platform all POSTs failed for {outage:g} seconds" if outage else ""
    score.note = f"{count} kills{away}; jobs are counted. What failed did so with a reason"
    return score


_HANG_S = 20
"""Seconds that one hang takes, with its share of the start."""


def hangs_at_http(seconds: float) -> Score:
    """llama.cpp's processes are stopped without being killed, and let go on."""
    return _noticed("llama.cpp stopped (SIGSTOP), HTTP door", at_http(_repeats(seconds)))


def hangs_on_queue(seconds: float) -> Score:
    """The same on RunPod's queue."""
    return _noticed("llama.cpp stopped (SIGSTOP), queue", asyncio.run(on_queue(_repeats(seconds))))


def _repeats(seconds: float) -> int:
    return max(1, min(6, int(seconds // _HANG_S)))


def _noticed(name: str, figures: Noticed) -> Score:
    return Score(name, tried=len(figures.noticed), noticed=figures.noticed)


BATTLES = [
    Battle("trailers", 6, trailers),
    Battle("heads", 6, heads),
    Battle("open uploads", 8, open_uploads),
    Battle("aborted uploads", 6, aborted_uploads),
    Battle("running bodies", 8, running_bodies),
    Battle("JSON", 8, json_bombs),
    Battle("raw sockets", 6, raw_sockets),
    Battle("shapes", 20, shapes),
    Battle("Redis", 10, redis_faults),
    Battle("kills", 12, kills),
    Battle("queue kills", 10, queue_kills, 66),
    Battle("hangs at HTTP", 6, hangs_at_http, 12),
    Battle("hangs on the queue", 6, hangs_on_queue, 12),
]
