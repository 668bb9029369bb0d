"""The profile `queue` of docker-compose.yml: its commands and variables are real, processes stand in for containers."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from compose_file import config
from http_door import free_port
from server_process import ServerProcess

COMMAND = str(Path(sys.executable).with_name("engineroom"))
HELLO: list[Any] = [{"role": "user", "content": "Hello there, how are you today?"}]
QUEUE = "http://queue:8088"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    running: dict[str, Any] = config("queue", QUEUE_KEY="sk-mine")["services"]
    return running


@pytest.fixture(scope="module")
def queue(services: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the queue, which has two workers: `--scale queue-worker=2`."""
    folder, port = tmp_path_factory.mktemp("queue"), free_port()
    here = {"0.0.0.0": "127.0.0.1", "8088": str(port)}
    # A worker that ends waits for its poll, which is short here.
    command = [COMMAND, *(here.get(word, word) for word in services["queue"]["command"]), "--hold", "0.5"]
    url = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        emulator = ServerProcess(command, folder / "queue.log")
        stack.callback(emulator.stop)
        emulator.until_listening(port)
        environ = {
            name: value.replace("$$", "$").replace(QUEUE, url)
            for name, value in services["queue-worker"]["environment"].items()
        }
        environ = {"PATH": os.environ["PATH"], **environ, "ENGINE": "echo", "HF_HOME": str(folder)}
        for number in range(2):
            worker = ServerProcess([COMMAND, "start"], folder / f"worker-{number}.log", environ, folder)
            stack.callback(worker.stop)
        emulator.until(lambda: len(stats(url)["workers"]) == 2)
        yield url


def stats(url: str) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.get(f"{url}/emulator/stats").json()
    return answer


def test_jobs_are_answered_as_on_a_serverless_endpoint(queue: str) -> None:
    job = {"input": {"prompt": "Hello there", "sampling_params": {"max_tokens": 4}}}
    headers = {"Authorization": "Bearer sk-mine"}
    answer = httpx.post(f"{queue}/v2/emulated/runsync", json=job, headers=headers, timeout=60).json()
    assert answer["status"] == "COMPLETED", answer
    assert httpx.post(f"{queue}/v2/emulated/runsync", json=job, timeout=60).status_code == 401


def test_openais_client_has_its_route_and_streams(queue: str) -> None:
    with openai.OpenAI(base_url=f"{queue}/v2/emulated/openai/v1", api_key="sk-mine", max_retries=0) as client:
        (model,) = client.models.list().data
        chunks = list(client.chat.completions.create(model=model.id, messages=HELLO, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == HELLO[0]["content"]


def test_what_says_that_the_queue_is_well_asks_it_without_a_key(queue: str, services: dict[str, Any]) -> None:
    program = services["queue"]["healthcheck"]["test"][-1]
    assert "http://127.0.0.1:8088/emulator/stats" in program
    assert httpx.get(f"{queue}/emulator/stats").status_code == 200
    assert services["queue-worker"]["depends_on"] == {"queue": {"condition": "service_healthy", "required": True}}


def test_several_workers_call_themselves_by_different_ids(queue: str, services: dict[str, Any]) -> None:
    assert "RUNPOD_POD_ID" not in services["queue-worker"]["environment"]
    assert len(stats(queue)["workers"]) == 2
