"""Several door processes, from outside: what there is once is one for all of them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from certificates import Pair
from http_door import Door, ask, serving
from server_process import until

from engineroom_workers.http.processes.door_processes import YoungDeaths
from engineroom_workers.http.processes.memory import SharedRequestMemory, held_by_all, shared_file

TWO = {"DOOR_PROCESSES": "2"}
SLOW = {"stream": True, "ignore_eos": True, "max_tokens": 20, "echo_tokens_per_s": 20}


def door_processes(door: Door) -> list[int]:
    """The ids of the door processes."""
    children = Path(f"/proc/{door.process.pid}/task/{door.process.pid}/children").read_text().split()
    return [int(child) for child in children if b"http.processes" in Path(f"/proc/{child}/cmdline").read_bytes()]


@contextmanager
def stopped(process: int) -> Iterator[None]:
    """A process that does nothing for as long as the block runs."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def ask_at_once(door: Door, count: int, **fields: Any) -> list[httpx.Response]:
    """Responses to requests that are sent at once, each on a connection of its own."""
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(lambda _: ask(door, **fields), range(count)))


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    names = {"MAX_CONCURRENT_REQUESTS": "3", "MAX_QUEUED_REQUESTS": "2", "API_KEYS": "", "CACHE_TTL": "60"}
    with serving({**TWO, **names}) as door:
        until(lambda: len(door_processes(door)) == 2)
        yield door


def test_the_limit_and_the_queue_are_one(door: Door) -> None:
    before = door.metric("engineroom_requests_total")
    responses = ask_at_once(door, 20, **SLOW)
    assert Counter(response.status_code for response in responses) == {200: 5, 503: 15}
    assert all(response.text.endswith("data: [DONE]\n\n") for response in responses if response.status_code == 200)
    assert door.metric("engineroom_requests_total") - before == 20


def test_the_cache_is_one_and_equal_requests_ask_the_engine_once(door: Door) -> None:
    before = door.metric("engineroom_echo_tokens_total")
    fields = {"temperature": 0, "messages": [{"role": "user", "content": "one two three"}], "echo_tokens_per_s": 20}
    responses = ask_at_once(door, 20, **fields)
    assert {response.status_code for response in responses} == {200}
    results = Counter(response.headers["cache-status"].split("; ")[1].partition(";")[0] for response in responses)
    assert results["hit"] + sum("collapsed" in response.headers["cache-status"] for response in responses) == 19
    usage = responses[0].json()["usage"]
    assert door.metric("engineroom_echo_tokens_total") - before == usage["completion_tokens"]


def test_a_limit_a_minute_is_one_and_so_are_the_counts() -> None:
    with serving({**TWO, "REQUESTS_PER_MINUTE": "7"}) as door:
        responses = ask_at_once(door, 20)
        assert Counter(response.status_code for response in responses) == {200: 7, 429: 13}
        tokens = sum(response.json()["usage"]["completion_tokens"] for response in responses if response.is_success)
        assert door.metric("engineroom_completion_tokens_total") == tokens
        health = httpx.get(f"{door.url}/health").json()
        assert health["ready"]


def test_what_door_processes_take_counts_as_theirs_and_not_as_the_engine_s(door: Door) -> None:
    until(lambda: len(door_processes(door)) == 2)
    assert door.metric("engineroom_door_processes ") == 2
    assert door.metric("engineroom_door_resident_memory_bytes ") > 20e6
    assert door.metric("engineroom_door_cpu_seconds_total ") > 0
    assert httpx.get(f"{door.url}/metrics.json").json()["door_processes"]["processes"] == 2
    assert "engineroom_engine_processes" not in door.metrics(), "the echo engine has none"


def test_a_client_that_leaves_gives_its_place_up(door: Door) -> None:
    body = {"messages": [{"role": "user", "content": "Hello"}], **SLOW, "max_tokens": 10_000}
    for _ in range(6):
        with httpx.stream("POST", f"{door.url}/v1/chat/completions", json=body, timeout=60) as response:
            next(response.iter_lines())
    until(lambda: httpx.get(f"{door.url}/health").json()["running"] == 0)


def test_other_surfaces_and_errors_are_as_ever(door: Door) -> None:
    message = {"model": "echo", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}], "stream": True}
    streamed = httpx.post(f"{door.url}/v1/messages", json=message)
    assert "event: message_stop" in streamed.text
    assert httpx.post(f"{door.url}/v1/chat/completions", content=b"{").json()["error"]["code"] == "invalid_json"
    assert httpx.get(f"{door.url}/v1/models/nope").status_code == 404
    created = httpx.post(f"{door.url}/v1/responses", json={"model": "echo", "input": "Hello"}).json()
    for _ in range(4):  # Kept once, and seen by each of them.
        assert httpx.get(f"{door.url}/v1/responses/{created['id']}").json()["id"] == created["id"]


def test_a_door_process_that_is_killed_takes_its_requests_alone_with_it() -> None:
    # Where the test fails, the door ends first, and with it the streams.
    with ThreadPoolExecutor(8) as threads, serving({**TWO, "MAX_CONCURRENT_REQUESTS": "8"}) as door:
        until(lambda: len(door_processes(door)) == 2)
        killed, kept = door_processes(door)

        def running() -> int:
            count: int = httpx.get(f"{door.url}/health").json()["running"]
            return count

        def stream(max_tokens: int) -> str:
            return ask(door, **{**SLOW, "max_tokens": max_tokens}).text

        # One that is stopped takes no connection.
        with stopped(kept):
            its_streams = [threads.submit(stream, 100_000) for _ in range(4)]
            until(lambda: running() == 4)
        with stopped(killed):
            other_streams = [threads.submit(stream, 100) for _ in range(4)]
            until(lambda: running() == 8)
        os.kill(killed, signal.SIGKILL)
        for one in its_streams:
            with pytest.raises(httpx.TransportError):
                one.result()
        # Their places are free at once, although they were to go on for more than an hour.
        until(lambda: running() <= 4)
        assert all(one.result().endswith("data: [DONE]\n\n") for one in other_streams)
        until(lambda: len(door_processes(door)) == 2)
        assert killed not in door_processes(door)
        assert kept in door_processes(door)
        door.says("starting another")
        assert all(response.is_success for response in ask_at_once(door, 8))
        until(lambda: running() == 0)


def test_when_the_main_process_is_killed_nothing_is_left() -> None:
    with serving(TWO) as door:
        until(lambda: len(door_processes(door)) == 2)
        children = door_processes(door)
        sockets = [line for line in Path("/proc/net/unix").read_text().splitlines() if "engineroom-door-" in line]
        assert sockets
        door.process.kill()
        door.process.wait(30)
        until(lambda: not any(_lives(child) for child in children))
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{door.url}/ping")


def _lives(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_a_drain_waits_for_the_streams_of_all() -> None:
    with serving(TWO) as door:
        with ThreadPoolExecutor(6) as threads:
            streams = [threads.submit(ask, door, **SLOW) for _ in range(6)]
            until(lambda: door.metric("engineroom_requests_running") == 6)
            door.signal(signal.SIGTERM)
            assert all(stream.result().text.endswith("data: [DONE]\n\n") for stream in streams)
        assert door.ended() == 0


def test_door_processes_speak_tls(tmp_path: Path) -> None:
    pair = Pair("localhost")
    certificate = tmp_path / "certificate.pem"
    certificate.write_bytes(pair.certificate)
    key = tmp_path / "key.pem"
    key.write_bytes(pair.key)
    names = {"UVICORN_SSL_CERTFILE": str(certificate), "UVICORN_SSL_KEYFILE": str(key)}
    with serving({**TWO, **names}, ready=False) as door:
        url = door.url.replace("http", "https")

        def answers() -> bool:
            with suppress(httpx.TransportError):
                return httpx.get(f"{url}/ping", verify=False).status_code == 200
            return False

        until(answers)


def test_a_door_process_that_cannot_start_ends_the_door_with_a_reason(tmp_path: Path) -> None:
    ending = "import os, sys\nif 'engineroom_workers.http.processes' in sys.orig_argv: os._exit(3)\n"
    (tmp_path / "sitecustomize.py").write_text(ending)
    with serving({**TWO, "PYTHONPATH": str(tmp_path)}, ready=False) as door:
        assert door.ended() == 1
        door.says("a door process ended 5 times in a row, the last with code 3")


def test_a_process_that_lived_long_is_no_young_death() -> None:
    deaths = YoungDeaths()
    for life_s in (1, 1, 1, 1, 3600, 1, 1, 1, 1):
        deaths.add(life_s)
        assert not deaths.too_many
    deaths.add(1)
    assert deaths.too_many


def test_the_memory_for_requests_counts_what_all_hold(door: Door) -> None:
    url = httpx.URL(door.url)
    held_by_twenty = 20 * 16 * 1024
    with ExitStack() as connections:
        for _ in range(20):
            connections.enter_context(socket.create_connection((url.host, url.port), timeout=60))
        until(lambda: door.metric("engineroom_request_memory_bytes") >= held_by_twenty)
    until(lambda: door.metric("engineroom_request_memory_bytes") < held_by_twenty)


_HOLDING = """
import os, sys
from engineroom_workers.http.processes.door_processes import YoungDeaths
from engineroom_workers.http.processes.memory import SharedRequestMemory
memory = SharedRequestMemory(1000, int(sys.argv[1]), 1)
print(memory.take(600, 600), flush=True)
sys.stdin.read()
"""


def test_the_memory_for_requests_that_wait_is_one() -> None:
    file = shared_file(2)
    try:
        own = SharedRequestMemory(1000, file, 0)
        command = [sys.executable, "-c", _HOLDING, str(file)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(file,)) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"True\n"
            assert not own.take(500, 500)
            assert own.take(300, 300)
            assert held_by_all(file) == 900
            other.kill()
        # Whoever takes the slot of one that was killed begins with nothing in it.
        SharedRequestMemory(1000, file, 1)
        assert held_by_all(file) == 300
        assert own.take(600, 900)
    finally:
        os.close(file)


def test_wrong_numbers_are_said_at_once() -> None:
    for value in ("0", "-1", "two", "1000"):
        with serving({"DOOR_PROCESSES": value}, ready=False) as door:
            assert door.ended() == 2
            door.says("DOOR_PROCESSES")
