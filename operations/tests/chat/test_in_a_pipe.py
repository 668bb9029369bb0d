"""`engineroom chat` without a terminal: a prompt in, an answer out, an exit code."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest
from http_door import COMMAND, Door, free_port, serving
from prepared_python import engineroom
from server_process import process_groups, until
from standin_streams import StandinStreams


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with serving({"API_KEYS": "me:sk-secret"}) as door:
        yield door


def chat(*arguments: str, prompt: str = "hello", **env: str) -> subprocess.CompletedProcess[str]:
    return engineroom("chat", *arguments, environ={**os.environ, **env}, given=prompt)


def test_the_answer_is_what_the_model_wrote(door: Door) -> None:
    result = chat(door.url, prompt="**bold** stays as it is\n", API_KEYS="me:sk-secret")
    assert (result.returncode, result.stdout, result.stderr) == (0, "**bold** stays as it is\n", "")


def test_without_an_argument_it_is_the_server_of_this_machine(door: Door) -> None:
    port = door.url.rpartition(":")[2]
    assert chat(PORT=port, API_KEYS="me:sk-secret").stdout == "hello\n"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "wants a key (401"),
        (("--api-key", "sk-wrong"), "refuses the key from --api-key (401"),
        (("--api-key", "sk-secret", "--model", "gpt"), "the server has no model 'gpt'; it has echo"),
    ],
)
def test_what_a_server_refuses_is_explained(door: Door, arguments: tuple[str, ...], reason: str) -> None:
    result = chat(door.url, *arguments)
    assert result.returncode == 1
    assert reason in result.stderr
    assert "sk-" not in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("http://127.0.0.1:1",), 1, "nothing listens at http://127.0.0.1:1"),
        (("http://nosuch.invalid/v1",), 1, "cannot be resolved"),
        (("http:///v1",), 2, "there is no host"),
        (("/nosuch/model.gguf",), 2, "there is no file or folder /nosuch/model.gguf"),
        (("--engine", "echo"), 2, "--engine is for a MODEL"),
    ],
)
def test_what_cannot_be_reached_is_explained(arguments: tuple[str, ...], code: int, reason: str) -> None:
    result = chat(*arguments)
    assert result.returncode == code
    assert reason in result.stderr
    assert "Traceback" not in result.stderr


def test_where_no_server_is_it_says_how_to_get_one() -> None:
    result = chat(PORT=str(free_port()))
    assert result.returncode == 1
    assert "`engineroom chat MODEL`" in result.stderr


def test_no_prompt_is_a_mistake_of_the_command_line(door: Door) -> None:
    assert chat(door.url, prompt=" \n").returncode == 2


def test_an_answer_that_is_cut_off_is_marked(door: Door) -> None:
    result = chat(door.url, "--max-tokens", "2", prompt="one two three four", API_KEYS="me:sk-secret")
    assert result.returncode == 0
    assert "limit of tokens" in result.stderr


def test_a_server_that_knows_no_stream_options_is_asked_without() -> None:
    with StandinStreams(strict=True) as server:
        result = chat(server.url)
        assert result.stdout == 'a ,"usage":null bü\n'
        assert ["stream_options" in body for body in server.asked] == [True, False]


def test_ctrl_c_ends_it_with_130_and_stops_the_server() -> None:
    with serving({"ECHO_TOKENS_PER_S": "50"}) as door, process_groups() as start:
        process = start([COMMAND, "chat", door.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(" ".join(["word"] * 2000).encode())
        process.stdin.close()
        assert process.stdout.read(4) == b"word"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        until(lambda: door.metric("engineroom_requests_running ") == 0)


def test_a_queue_endpoint_of_runpod_answers(endpoint: str) -> None:
    result = chat(f"{endpoint}/openai/v1", prompt="over the queue")
    assert (result.returncode, result.stdout, result.stderr) == (0, "over the queue\n", "")
