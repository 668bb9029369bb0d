"""`engineroom top` with real servers: in a terminal, in a pipe, while they come and go."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from http_door import COMMAND, Door, ask, free_port, serving
from prepared_python import engineroom
from server_process import process_groups, until
from standin_openai import StandinOpenAI
from terminal import Terminal


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with serving({"API_KEYS": "me:sk-secret", "ECHO_TOKENS_PER_S": "200"}) as door:
        yield door


def top(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return engineroom("top", *arguments, environ={**os.environ, **env})


def test_a_program_gets_all_targets_as_json(door: Door) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    result = top("--once", "--json", "--interval", "0.3", door.url, nobody, API_KEYS="me:sk-secret")
    up, away = [json.loads(line) for line in result.stdout.splitlines()]
    assert (up["state"], up["running"], up["completion_tokens_per_s"]) == ("up", 0, 0)
    assert up["inter_token"] is None
    assert (away["state"], away["running"]) == ("away", None)
    assert "nothing listens" in away["reason"]
    assert result.returncode == 1
    assert "sk-secret" not in result.stdout + result.stderr


def test_figures_are_of_what_happens_meanwhile(door: Door) -> None:
    """A stream of 2000 tokens at 200 a second: it is seen running, and its tokens are counted as they come."""
    body = {"model": "echo", "stream": True, "messages": [{"role": "user", "content": "w " * 2000}]}
    headers = {"Authorization": "Bearer sk-secret"}
    with httpx.stream("POST", f"{door.url}/v1/chat/completions", headers=headers, json=body, timeout=60):
        until(lambda: _metrics(door, "engineroom_completion_tokens_total") > 10)
        result = top("--once", "--json", "--interval", "1", "--api-key", "sk-secret", door.url)
    reading = json.loads(result.stdout)
    assert result.returncode == 0, result.stderr
    assert reading["running"] == 1
    assert reading["models"] == ["echo"]
    assert reading["completion_tokens_per_s"] > 0
    assert reading["inter_token"]["p50"] > 0


def _metrics(door: Door, name: str) -> float:
    import httpx

    text = httpx.get(f"{door.url}/metrics", headers={"Authorization": "Bearer sk-secret"}, timeout=30).text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


def test_without_the_key_it_says_so_and_does_not_end(door: Door) -> None:
    result = top("--once", "--interval", "0.3", door.url, API_KEYS="", OPENAI_API_KEY="")
    assert "wants a key" in result.stdout
    assert "Traceback" not in result.stderr


def test_a_server_without_metrics_is_up_without_figures() -> None:
    with StandinOpenAI("/v1", "m") as server:
        result = top("--once", "--interval", "0.3", server.url)
    assert "up: it has no /metrics (404)" in result.stdout
    assert result.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("org/model",), "`engineroom serve org/model`"),
        (("http:///x",), "there is no host"),
        (("--interval", "0", "http://127.0.0.1:1"), "--interval"),
    ],
)
def test_what_is_no_target_is_a_mistake_of_the_command_line(arguments: tuple[str, ...], reason: str) -> None:
    result = top("--once", *arguments)
    assert result.returncode == 2
    assert reason in result.stderr


def test_in_a_pipe_each_look_is_a_line_and_ctrl_c_ends_it(door: Door) -> None:
    with process_groups() as start:
        process = start(
            [COMMAND, "top", "--interval", "0.3", door.url, "--api-key", "sk-secret"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        lines = [process.stdout.readline().decode() for _ in range(3)]
        assert all(": up" in line and "running" in line for line in lines)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def test_a_reader_that_has_enough_ends_it(door: Door) -> None:
    shell = f"{COMMAND} top --interval 0.2 {door.url} --api-key sk-secret | head -2; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0
    assert "Traceback" not in result.stderr
    assert len(result.stdout.splitlines()) == 2


def test_on_a_terminal_a_target_that_goes_and_returns_is_shown_so() -> None:
    port = free_port()
    environ = {"PORT": str(port)}
    terminal = Terminal(
        [COMMAND, "top", "--interval", "0.3", f"127.0.0.1:{port}"], {**os.environ}, columns=100, lines=30
    )
    with terminal:
        terminal.until("away")
        with serving(environ) as door:
            at = terminal.until("0 running", len(terminal.text))
            ask(door)
        at = terminal.until("away for", at)
        with serving(environ):
            terminal.until("up for", at)
            at = len(terminal.text)
            terminal.resize(60, 20)
            terminal.until("0 running", at)
        terminal.type("q")
        assert terminal.ended() == 0
        assert terminal.raw.endswith("\x1b[?25h") or "\x1b[?1049l" in terminal.raw


def test_a_queue_endpoint_shows_its_jobs_and_workers(endpoint: str) -> None:
    result = top("--once", "--json", "--interval", "0.3", endpoint)
    reading = json.loads(result.stdout)
    assert reading["state"] == "up"
    assert reading["workers"]["idle"] == 1
    assert (reading["running"], reading["waiting"]) == (0, 0)
    assert "completed" in reading["jobs"]


def test_an_endpoint_that_is_not_there_is_said_to_be_none(endpoint: str) -> None:
    result = top("--once", "--interval", "0.3", endpoint.replace("/emulated", "/other"))
    assert "RunPod has no endpoint other" in result.stdout
    assert result.returncode == 1


def test_a_load_balancing_endpoint_is_not_woken_to_be_looked_at() -> None:
    result = top("--once", "--json", "--interval", "0.2", "https://abc.api.runpod.ai", RUNPOD_API_KEY="")
    reading: dict[str, Any] = json.loads(result.stdout)
    assert reading["state"] == "unknown"
    assert "--wake" in reading["reason"]
