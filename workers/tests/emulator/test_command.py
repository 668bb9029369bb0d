"""`engineroom emulate` as a user runs it: a process in a terminal's place, with workers of RunPod's SDK."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from pages import ROOT, blocks
from prepared_python import engineroom, started
from programs import need

from engineroom.settings import Environment
from engineroom_workers.emulator import command
from engineroom_workers.settings import DoorSettings

HANDLER = Path(__file__).with_name("sdk_handler.py")


class Running:
    """An emulator's process and what it has printed so far."""

    def __init__(self, arguments: list[str]) -> None:
        self.process, self._output = started(
            "emulate", "--port", "0", "--hold", "1", *arguments, environ={**os.environ, "RUNPOD_LOG_LEVEL": "ERROR"}
        )
        self.printed = ""

    def prints(self, pattern: str) -> re.Match[str]:
        """Read on until it has printed what matches."""
        while not (match := re.search(pattern, self.printed)):
            line = self._output.readline()
            assert line, f"it ended, having printed:\n{self.printed}"
            self.printed += line
        return match

    @property
    def endpoint(self) -> str:
        return self.prints(r"endpoint +(http://\S+)")[1]

    def end(self) -> int:
        self.printed += self._output.read()
        return self.process.wait(timeout=60)


@pytest.fixture
def emulate() -> Iterator[Callable[..., Running]]:
    """Starts emulators; they and all that they started are gone when the test ends."""
    all_of_them: list[Running] = []

    def start(*arguments: str) -> Running:
        all_of_them.append(Running(list(arguments)))
        return all_of_them[-1]

    yield start
    for running in all_of_them:
        running.process.send_signal(signal.SIGTERM)
        running.end()


def descendants(running: Running) -> list[psutil.Process]:
    return psutil.Process(running.process.pid).children(recursive=True)


def gone(processes: list[psutil.Process], timeout: float = 60) -> bool:
    return not psutil.wait_procs(processes, timeout=timeout)[1]


def test_an_endpoint_in_one_command(emulate: Callable[..., Running]) -> None:
    running = emulate("--", sys.executable, str(HANDLER))
    state = httpx.post(f"{running.endpoint}/runsync", json={"input": {"items": ["a"]}}, timeout=60).json()
    assert (state["status"], state["output"]) == ("COMPLETED", ["a"])
    running.prints(rf"worker {state['workerId']} takes jobs")
    running.prints(f"{state['id']} COMPLETED")
    processes = descendants(running)
    assert processes
    running.process.send_signal(signal.SIGINT)
    assert running.end() == 0
    assert gone(processes)


def test_nothing_outlives_a_killed_emulator(emulate: Callable[..., Running]) -> None:
    running = emulate("--grace", "5", "--", sys.executable, str(HANDLER))
    running.prints("takes jobs")
    processes = descendants(running)
    running.process.kill()
    assert gone(processes)


def test_a_killed_emulators_worker_has_no_time_for_a_platform_that_is_gone(emulate: Callable[..., Running]) -> None:
    running = emulate("--grace", "3600", "--", "sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.1; done")
    running.prints("(?m)^.*deaf$")
    processes = descendants(running)
    running.process.kill()
    assert gone(processes)


def test_a_worker_that_ignores_sigterm_is_killed(emulate: Callable[..., Running]) -> None:
    running = emulate("--grace", "0.2", "--", "sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.1; done")
    # A line of its own: the emulator says the command that it starts, in which the word is, too, before it starts it.
    running.prints("(?m)^.*deaf$")
    processes = descendants(running)
    running.process.send_signal(signal.SIGTERM)
    assert running.end() == 0
    assert gone(processes)
    assert "ended with SIGKILL" in running.printed


def test_it_ends_with_its_workers_exit_code(emulate: Callable[..., Running]) -> None:
    running = emulate("--", "sh", "-c", "exit 7")
    assert running.end() == 7
    assert "ended with code 7" in running.printed


def test_a_command_that_cannot_be_run(emulate: Callable[..., Running]) -> None:
    running = emulate("--", "no-such-worker")
    assert running.end() == 127
    assert "no-such-worker: No such file or directory" in running.printed


def test_several_workers(emulate: Callable[..., Running]) -> None:
    running = emulate("--workers", "2", "--", sys.executable, str(HANDLER))
    running.prints(r"(?s)takes jobs.*takes jobs")
    workers = httpx.get(f"{running.endpoint}/health").json()["workers"]
    assert workers["idle"] == 2


def test_a_worker_is_replaced_when_its_result_asks_for_it(
    emulate: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HANDLER", "plain")
    running = emulate("--", sys.executable, str(HANDLER))
    first = run(running, {"return": {"refresh_worker": True, "a": 1}})
    running.prints(rf"worker {first['workerId']} asked to be replaced")
    second = run(running, {"return": 2})
    assert first["workerId"] != second["workerId"]
    assert (first["output"], second["output"]) == ({"a": 1}, 2)


def run(running: Running, instructions: dict[str, Any]) -> dict[str, Any]:
    state: dict[str, Any] = httpx.post(f"{running.endpoint}/runsync", json={"input": instructions}, timeout=60).json()
    return state


def test_without_a_command_it_tells_the_environment(emulate: Callable[..., Running]) -> None:
    running = emulate("--api-key", "sk", "--endpoint-id", "mine")
    running.prints("RUNPOD_ENDPOINT_BASE_URL=.*\n(?s:.*)RUNPOD_ENDPOINT_BASE_URL=.*\n")
    exports = "\n".join(line for line in running.printed.splitlines() if "export " in line)
    script = f'{exports}\nprintf "%s" "$RUNPOD_WEBHOOK_GET_JOB"'
    take = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    assert take == f"{running.endpoint}/job-take/$ID?gpu=Emulated+GPU"
    assert httpx.get(f"{running.endpoint}/health").status_code == 401


def test_nothing_that_was_created_outlives_a_killed_emulator(emulate: Callable[..., Running]) -> None:
    running = emulate("--image", "sleeper", "sh -c 'sleep 1000 & trap true TERM; while :; do sleep 0.1; done'")
    url = running.prints(r"RUNPOD_API_URL=(http://\S+)")[1]
    with httpx.Client(base_url=url, headers={"Authorization": "Bearer any"}) as client:
        common = {"name": "n", "image": "sleeper"}
        cpu = {"id": "cpu3c", "vcpuCount": 2}
        scaling = {"type": "REQUEST_COUNT", "requestCount": 1}
        endpoint = {**common, "type": "QUEUE", "scaling": scaling, "cpu": [cpu], "workers": {"min": 2}}
        assert client.post("/v2/serverless", json=endpoint).status_code == 201
        assert client.post("/v2/pods", json={**common, "cpu": cpu}).status_code == 201
        running.prints("is RUNNING")
    processes = descendants(running)
    assert len(processes) >= 9
    running.process.kill()
    assert gone(processes)


def test_what_the_page_pastes_creates_an_endpoint(emulate: Callable[..., Running]) -> None:
    need("curl", "--version")
    [block] = [block for block in blocks(ROOT / "docs" / "emulator.md", "sh") if "/v2/serverless" in block]
    url = emulate().prints(r"RUNPOD_API_URL=(http://\S+)")[1]
    script = block.replace("http://127.0.0.1:8088", url).replace("curl ", "curl -sSf ")
    pasted = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True).stdout
    created, _, listed = pasted.partition("}{")
    endpoint = json.loads(created + "}")
    assert json.loads("{" + listed) == {"endpoints": [endpoint]}
    chat = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}
    openai = endpoint["requestUrls"]["run"].removesuffix("run") + "openai/v1/chat/completions"
    answer = httpx.post(openai, json=chat, timeout=60).json()
    assert answer["choices"][0]["message"]["content"] == "hello"


def test_an_id_that_belongs_to_the_management_api(emulate: Callable[..., Running]) -> None:
    running = emulate("--endpoint-id", "pods")
    assert running.end() == 2
    assert "belongs to the management API" in running.printed


def test_a_port_that_is_taken(emulate: Callable[..., Running]) -> None:
    running = emulate()
    port = running.endpoint.split(":")[2].split("/")[0]
    second = emulate("--port", port)
    assert second.end() == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in second.printed


def test_help() -> None:
    text = engineroom("emulate", "--help").stdout
    assert "engineroom emulate -- engineroom runpod" in text


def test_a_worker_has_time_to_drain_and_then_to_tell_the_rest() -> None:
    """With equal times the worker was killed at the moment when it began to tell them."""
    [grace] = [option.default for option in command.emulate.params if option.name == "grace"]
    assert isinstance(grace, float)
    assert grace >= DoorSettings.load(Environment.of({})).drain_timeout + 15
