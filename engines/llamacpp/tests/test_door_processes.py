"""Several door processes in front of a real server: they stream past the main process, which counts all the same."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from http_door import Door, serving
from llamacpp_made import SMALL
from server_process import until

BODY = {"messages": [{"role": "user", "content": "Tell a long story."}], "stream": True, "temperature": 0}
ENDLESS = {**BODY, "max_tokens": 1900, "ignore_eos": True}


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    names = {name: str(value) for name, value in SMALL.items()}
    own = {"ENGINE": "llamacpp", "DOOR_PROCESSES": "2", "ENGINE_RESTARTS": "2", "MAX_CONCURRENT_REQUESTS": "4"}
    with serving({**names, **own}) as door:
        yield door


def events(text: str) -> list[dict[str, Any]]:
    """The events of a stream that are JSON."""
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


def test_a_stream_does_not_pass_the_main_process_and_is_counted_there(door: Door) -> None:
    before = door.metric("engineroom_completion_tokens_total")
    pieces = door.metric("engineroom_inter_token_seconds_count")
    with httpx.stream("POST", f"{door.url}/v1/chat/completions", json={**BODY, "max_tokens": 60}, timeout=60) as stream:
        lines = stream.iter_lines()
        first = next(lines)
        os.kill(door.process.pid, signal.SIGSTOP)
        try:
            received = [first, *(next(lines) for _ in range(80))]
        finally:
            os.kill(door.process.pid, signal.SIGCONT)
        received += list(lines)
    text = "\n".join(received)
    assert text.rstrip().endswith("data: [DONE]")
    # Nobody asked for the usage, and the request's id is the door's.
    assert not any("usage" in event for event in events(text))
    assert stream.headers["x-request-id"].startswith("req_")
    until(lambda: door.metric("engineroom_completion_tokens_total") - before == 60)
    assert door.metric("engineroom_inter_token_seconds_count") - pieces >= 50


def test_a_client_that_leaves_ends_the_generation(door: Door) -> None:
    with httpx.stream("POST", f"{door.url}/v1/chat/completions", json=ENDLESS, timeout=60) as one:
        lines = one.iter_lines()  # Kept: an iterator that nobody refers to closes its response.
        next(lines)
        until(lambda: door.metric("llamacpp:requests_processing") == 1)
    until(lambda: door.metric("llamacpp:requests_processing") == 0)
    until(lambda: httpx.get(f"{door.url}/health").json()["running"] == 0)


def test_the_servers_own_errors_have_their_status(door: Door) -> None:
    long = {**BODY, "messages": [{"role": "user", "content": "word " * 9000}]}
    answer = httpx.post(f"{door.url}/v1/chat/completions", json=long, timeout=60)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"


def server_of(door: Door) -> int:
    """The id of llama.cpp's own process, the one that has most memory of all below the door."""
    pids = [door.process.pid]
    for pid in pids:
        with suppress(FileNotFoundError):
            pids += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    memory = {pid: int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids[1:]}
    return max(memory, key=memory.__getitem__)


def test_an_engine_that_dies_is_said_in_the_stream_and_the_next_one_is_asked(door: Door) -> None:
    with httpx.stream("POST", f"{door.url}/v1/chat/completions", json=ENDLESS, timeout=60) as one:
        lines = one.iter_lines()
        next(lines)
        os.kill(server_of(door), signal.SIGKILL)
        rest = "\n".join(lines)
    error = events(rest)[-1]["error"]
    assert "killed" in error["message"]
    door.until(200)
    answer = httpx.post(f"{door.url}/v1/chat/completions", json={**BODY, "max_tokens": 5}, timeout=60)
    assert answer.text.endswith("data: [DONE]\n\n")
