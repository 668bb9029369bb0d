"""What a person at a terminal sees of the HTTP door: its log, and `engineroom check` against it."""

from __future__ import annotations

import codecs
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from http_door import COMMAND, free_port, serving
from programs import need

NOISY = """
import asyncio, logging
from engineroom_echo.engine import EchoEngine

class Noisy(EchoEngine):
    async def load(self):
        for number in range(8):
            await asyncio.sleep(0.2)
            logging.getLogger("engine.noisy").warning("line %d", number)
        await super().load()

async def run(stack, sockets, options):
    stack.engine.__class__ = Noisy
    await whole(stack, sockets, options)

from engineroom_workers.http import run as door
whole, door.run = door.run, run
from engineroom.cli import main
main()
"""
"""The door, with an engine that writes to the log while it loads."""


NO_HUB = {"HF_ENDPOINT": "http://127.0.0.1:1", "PORT": "0", "NO_COLOR": "1"}
"""Settings with which no model can be downloaded."""

STUBBORN = """
import asyncio
from engineroom_echo.engine import EchoEngine

async def stop(engine):
    await asyncio.sleep(600)

EchoEngine.stop = stop
from engineroom.cli import main
main()
"""
"""The door, with an engine that does not stop."""


class Terminal:
    """A program on a pseudo-terminal, and what it has written there."""

    def __init__(self, *command: str, **environ: str) -> None:
        self.text = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._master, slave = pty.openpty()
        given = {**os.environ, "ENGINE": "echo", "TERM": "xterm", "COLUMNS": "80", **environ}
        self.process = subprocess.Popen(command, env=given, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(10)

    def until(self, text: str) -> None:
        """Read until it has written `text`."""
        while text not in self.text:
            self._read()

    def ended(self) -> int:
        """Read the rest; the exit code."""
        try:
            while True:
                self._read()
        except OSError:  # Linux: nobody has the other end any more
            os.close(self._master)
        return self.process.wait(60)

    def _read(self) -> None:
        self.text += self._decoder.decode(os.read(self._master, 65536))
        self.text = self.text.replace("\r\n", "\n")


def test_a_terminal_shows_where_the_model_is_and_a_request_to_paste() -> None:
    need("curl", "--version")
    with Terminal(COMMAND, "serve", PORT=str(free_port())) as terminal:
        terminal.until("Ctrl-C stops it.")
        (command,) = (part for part in terminal.text.split("\n\n") if "curl" in part)
        pasted = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30)
        assert "What is 2+2?" in pasted.stdout, "the echo engine answers what it was asked"
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.ended() == 0
    assert "Traceback" not in terminal.text
    assert "start-up:" not in terminal.text


@pytest.mark.parametrize("no_colour", ["", "1"])
def test_log_lines_do_not_run_into_the_spinner(tmp_path: Path, no_colour: str) -> None:
    """A line was written behind the spinner, on the spinner's own line."""
    (tmp_path / "noisy.py").write_text(NOISY)
    with Terminal(sys.executable, str(tmp_path / "noisy.py"), "serve", PORT="0", NO_COLOR=no_colour) as terminal:
        terminal.until("Ctrl-C stops it.")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.ended() == 0
    lines = [line.rpartition("\x1b[2K")[2] for line in terminal.text.split("\n") if "noisy: line" in line]
    assert len(lines) == 8
    assert not [line for line in lines if "is loading" in line]
    assert ("\x1b[33m" in lines[0]) == (not no_colour)


def test_a_log_has_each_phase_of_the_start_once() -> None:
    """Each was logged as it ended, and then all of them once more."""
    with serving() as door:
        httpx.post(f"{door.url}/v1/completions", json={"prompt": "Hello", "max_tokens": 2})
        door.says("first request")
    messages = [line.split(maxsplit=2)[2] for line in door.log.splitlines()]
    phases, ready, first, *_ = messages
    assert [phase.rsplit(maxsplit=2)[0] for phase in phases.removeprefix("start-up: ").split(", ")] == [
        "interpreter",
        "settings read",
        "listening",
        "engine ready",
    ]
    assert ready == f"ready: echo serves echo on {door.url}, with a page to chat at {door.url}/"
    assert re.fullmatch(r"first request, [\d.]+ s after this process was started", first)


def test_a_stop_says_what_it_waits_for_and_that_it_is_done() -> None:
    with serving() as door:
        door.process.send_signal(signal.SIGTERM)
        assert door.process.wait(30) == 0
    lines = [line.split(maxsplit=2)[2] for line in door.log.splitlines()]
    assert lines[-2:] == ["stopping: no request is running, echo is ended", "stopped"]


def test_a_second_signal_ends_at_once_and_says_so() -> None:
    """Even where the engine takes its time to stop."""
    with Terminal(sys.executable, "-c", STUBBORN, "serve", PORT="0", COLUMNS="60") as terminal:
        terminal.until("Ctrl-C stops it.")
        (address,) = (line.strip() for line in terminal.text.split("\n") if line.strip().endswith("/v1"))
        assert address.startswith("http://127.0.0.1:"), "it has a line of its own"
        terminal.process.send_signal(signal.SIGINT)
        terminal.until("stopping: no request is running")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.ended() == 0
    assert "a second signal: ending at once" in terminal.text
    assert terminal.text.rstrip().endswith("stopped")


def check(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, "check", *arguments], capture_output=True, text=True, timeout=60, env=os.environ)


def test_check_takes_a_base_url_and_a_key() -> None:
    with serving({"API_KEYS": "alice:sk-alice"}) as door:
        refused = check(door.url)
        assert refused.returncode == 1
        assert "--api-key" in refused.stderr
        kept = check(f"{door.url}/v1", "--api-key", "sk-alice", "--only", "chat_answers")
        assert kept.returncode == 0, kept.stderr
        assert "1 kept, 0 broken" in kept.stdout


@pytest.mark.parametrize("no_colour", ["", "1"])
def test_an_error_has_a_colour_unless_it_is_unwanted(no_colour: str) -> None:
    with Terminal(COMMAND, "serve", PORT="no", NO_COLOR=no_colour) as terminal:
        assert terminal.ended() == 2
    assert ("\x1b[31m" in terminal.text) == (not no_colour)


@pytest.mark.parametrize("columns", ["60", "80"])
def test_an_error_is_broken_between_words(columns: str) -> None:
    """A terminal breaks a line anywhere, also in an address or a command to copy."""
    with Terminal(COMMAND, "serve", MODEL_NAME="org/name", ENGINE="llamacpp", COLUMNS=columns, **NO_HUB) as terminal:
        assert terminal.ended() == 1
    error = terminal.text[terminal.text.index("error: ") :]
    assert "http://127.0.0.1:1 " in error.replace("\n", " \n")
    assert "`engineroom models`" in error.replace("\n  ", " ")
    assert max(map(len, error.splitlines())) <= int(columns)


def test_a_port_that_is_taken_is_one_line_with_what_to_do() -> None:
    with serving() as door:
        port = door.url.rpartition(":")[2]
        environ = {**os.environ, "ENGINE": "echo", "PORT": port}
        done = subprocess.run([COMMAND, "serve"], env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: PORT: cannot listen on 127.0.0.1:{port}: Address already in use; "
        "choose another, or 0 for any that is free\n"
    )
