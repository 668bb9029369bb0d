"""Several workers behind nginx as docker-compose.yml sets it up: real doors stand in for the containers of one name.

Docker's name server leads `worker` to all of them; here nginx is given their addresses.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from compose_file import config
from http_door import Door, serving
from nginx_server import Nginx
from server_process import until

CHAT = "/v1/chat/completions"
HELLO: list[Any] = [{"role": "user", "content": "Hello there, how are you today?"}]


def port_of(door: Door) -> int:
    return int(door.url.rpartition(":")[2])


def servers(*ports: int) -> str:
    """What the template's `server ${WORKER_ADDRESS} max_fails=0;` becomes for several addresses."""
    return " max_fails=0; server ".join(f"127.0.0.1:{port}" for port in ports)


class Load:
    """Clients that ask again as soon as they have an answer, half of them in streams; `failures` is what went wrong."""

    def __init__(self, front: Nginx, clients: int = 6) -> None:
        self._front = front
        self._ends = threading.Event()
        self._pool = ThreadPoolExecutor(clients)
        self.answers = 0
        self.failures: list[str] = []
        self._running = [self._pool.submit(self._ask, stream=number % 2 == 0) for number in range(clients)]

    def _ask(self, stream: bool) -> None:
        body = {"messages": HELLO, "stream": stream, "echo_tokens_per_s": 30}
        with self._front.client() as client:
            while not self._ends.is_set():
                try:
                    answer = client.post(CHAT, json=body)
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))
                    continue
                whole = answer.text.endswith("data: [DONE]\n\n") if stream else "choices" in answer.text
                if answer.status_code == 200 and whole and '"error"' not in answer.text:
                    self.answers += 1
                else:
                    self.failures.append(f"{answer.status_code} {answer.text[-300:]}")

    def more(self, answers: int) -> None:
        """Wait for so many more answers."""
        wanted = self.answers + answers
        until(lambda: self.answers >= wanted or self.failures)

    def end(self) -> None:
        self._ends.set()
        self._pool.shutdown()
        for each in self._running:
            each.result()


@pytest.fixture
def doors() -> Iterator[list[Door]]:
    with ExitStack() as stack:
        yield [stack.enter_context(serving()) for _ in range(2)]


@pytest.fixture
def front(doors: list[Door], tmp_path: Path) -> Iterator[Nginx]:
    nginx = Nginx(tmp_path, 0, WORKER_ADDRESS=servers(*map(port_of, doors)))
    try:
        yield nginx
    finally:
        nginx.stop()


def test_one_replica_after_the_other_is_replaced_under_load_and_no_client_sees_it(
    doors: list[Door], front: Nginx
) -> None:
    """Each drains what it has, and its place is taken by a new one, which loads for a while, as an engine does."""
    load = Load(front)
    with ExitStack() as successors:
        try:
            load.more(12)
            for door in doors:
                door.process.terminate()
                assert door.ended() == 0
                load.more(12)
                new = {"PORT": str(port_of(door)), "ECHO_START_S": "1"}
                successors.enter_context(serving(new, ready=False))
                load.more(6)
                until(lambda door=door: is_ready(door))
                load.more(12)
        finally:
            load.end()
    assert load.failures == []


def test_a_replica_that_is_full_hands_on_and_stays(tmp_path: Path) -> None:
    """Only where all are full is a client refused, in the worker's words; and nobody is left out for it."""
    places = {"MAX_CONCURRENT_REQUESTS": "1", "MAX_QUEUED_REQUESTS": "0", "STREAM_HEARTBEAT": "0.2"}
    with serving(places) as first, serving({**places, "MAX_CONCURRENT_REQUESTS": "3"}) as second:
        nginx = Nginx(tmp_path, 0, WORKER_ADDRESS=servers(port_of(first), port_of(second)))
        try:
            with nginx.client() as client, ThreadPoolExecutor(4) as pool:
                long = {"messages": HELLO, "echo_ttft_ms": 60_000, "stream": True}

                def hold(door: Door) -> None:
                    with httpx.stream("POST", f"{door.url}{CHAT}", json=long, timeout=60) as answer:
                        held.wait(60)
                        answer.close()

                held = threading.Event()
                try:
                    pool.submit(hold, first)
                    until(lambda: running(first) == 1)
                    assert [client.post(CHAT, json={"messages": HELLO}).status_code for _ in range(4)] == [200] * 4
                    for _ in range(3):
                        pool.submit(hold, second)
                    until(lambda: running(second) == 3)
                    refused = client.post(CHAT, json={"messages": HELLO})
                    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "server_busy")
                    assert "retry-after" in refused.headers
                finally:
                    held.set()
                until(lambda: running(first) == running(second) == 0)
                assert client.post(CHAT, json={"messages": HELLO}).status_code == 200
        finally:
            nginx.stop()


def is_ready(door: Door) -> bool:
    try:
        return httpx.get(f"{door.url}/ping").status_code == 200
    except httpx.TransportError:
        return False


def running(door: Door) -> float:
    """How many requests its engine has."""
    sample = re.search(r"^engineroom_echo_running (\S+)$", httpx.get(f"{door.url}/metrics").text, re.MULTILINE)
    assert sample
    return float(sample[1])


def test_a_replica_that_dies_takes_nothing_with_it_but_what_it_had_begun_to_say(
    doors: list[Door], front: Nginx
) -> None:
    doors[0].process.kill()
    doors[0].ended()
    with front.client() as client:
        assert [client.post(CHAT, json={"messages": HELLO}).status_code for _ in range(6)] == [200] * 6


def test_replicas_have_no_port_in_common() -> None:
    """`--scale worker=4` ends in an error where all of them are to be reached by one port of the machine."""
    (port,) = config(PORT="0")["services"]["worker"]["ports"]
    assert (port["published"], port["target"]) == ("0", 8000)
    services = config("tls", overlay="gpus.yml")["services"]
    workers = {name: service for name, service in services.items() if name.startswith("worker")}
    assert not [name for name, service in workers.items() if service.get("ports")]
    gpus = [service["environment"].pop("CUDA_VISIBLE_DEVICES") for service in workers.values()]
    assert gpus == ["0", "1"]
    assert workers["worker-1"]["networks"]["default"]["aliases"] == ["worker"]
    for each in ("environment", "image", "volumes", "stop_grace_period"):
        assert workers["worker"][each] == workers["worker-1"][each]
