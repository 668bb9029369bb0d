"""`engineroom chat` in a terminal, with real servers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from http_door import COMMAND, Door, serving
from server_process import until
from terminal import Terminal

PACED = {"ECHO_TOKENS_PER_S": "200", "ECHO_TTFT_MS": "50"}


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with serving(PACED) as door:
        yield door


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment whose history is the test's own."""
    return {**os.environ, "XDG_STATE_HOME": str(tmp_path)}


def chat(*arguments: str, environ: dict[str, str]) -> Terminal:
    return Terminal([COMMAND, "chat", *arguments], environ)


def ask(terminal: Terminal, line: str, answer: str) -> int:
    """Type a line, and wait for `answer`, which must not be in the line itself: it is seen while it is typed."""
    assert answer not in line
    since = len(terminal.text)
    terminal.type(f"{line}\r")
    return terminal.until(answer, since)


def test_a_conversation_from_greeting_to_good_bye(door: Door, home: dict[str, str], tmp_path: Path) -> None:
    with chat(door.url, environ=home) as terminal:
        terminal.until("echo at 127.0.0.1")
        terminal.until("\n>")
        ask(terminal, "What is **bold** here", "What is bold here")
        at = ask(terminal, "/stats", "time to first token")
        at = terminal.until("tokens/s after it", at)
        at = terminal.until("tokens of the prompt", at)
        terminal.until("echo at 127.0.0.1", at)
        ask(terminal, "/model", "* echo")
        ask(terminal, "/model gpt", "the server has no model 'gpt'")
        ask(terminal, "/stast", "Did you mean /stats?")
        ask(terminal, "/usr/bin/env is a **path**", "/usr/bin/env is a path")
        ask(terminal, "/retry", "/usr/bin/env is a path")
        ask(terminal, "/clear", "Forgotten")
        terminal.type("\x04")
        assert terminal.ended() == 0
    history = tmp_path / "engineroom" / "chat_history"
    assert "What is **bold** here" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0


def test_ctrl_c_stops_the_answer_at_the_server_and_the_chat_goes_on(home: dict[str, str]) -> None:
    """The answer would take 40 s: on a busy machine one of four was over before anybody looked."""
    with serving({**PACED, "ECHO_TOKENS_PER_S": "20"}) as door, chat(door.url, environ=home) as terminal:
        terminal.until("\n>")
        at = ask(terminal, "**begin** " + "w " * 800, "begin w w")
        until(lambda: door.metric("engineroom_requests_running ") >= 1)
        terminal.type("\x03")
        at = terminal.until("(stopped)", at)
        until(lambda: door.metric("engineroom_requests_running ") == 0)
        at = ask(terminal, "still **there**", "still there")
        terminal.until("\n>", at)
        terminal.type("\x03")
        terminal.until("another Ctrl-C leaves", at)
        terminal.type("\x03")
        assert terminal.ended() == 0


def test_several_lines_and_a_paste_are_one_message(door: Door, home: dict[str, str]) -> None:
    with chat(door.url, environ=home) as terminal:
        terminal.until("\n>")
        ask(terminal, '"""**first**\rsecond"""', "first second")
        ask(terminal, "\x1b[200~**one**\ntwo\x1b[201~", "one two")
        ask(terminal, "/stats", "all 2 answers")


def test_what_a_model_writes_cannot_steer_the_terminal(door: Door, home: dict[str, str]) -> None:
    with chat(door.url, environ=home) as terminal:
        terminal.until("\n>")
        at = len(terminal.raw)
        ask(terminal, "\x1b[200~**title** \x1b]0;owned\x07 end\x1b[201~", "title ]0;owned end")
        assert "\x1b]0;owned" not in terminal.raw[at:]


def test_a_model_gets_a_server_which_ends_with_the_chat(home: dict[str, str]) -> None:
    with chat("my-model", "--engine", "echo", environ=home) as terminal:
        terminal.until("my-model at a server of this chat's own")
        ask(terminal, "hello **there**", "hello there")
        children = descendants(terminal.process.pid)
        assert children
        terminal.type("\x04")
        assert terminal.ended() == 0
        assert not [pid for pid in children if alive(pid)]


def test_its_server_ends_with_a_chat_that_is_killed(home: dict[str, str]) -> None:
    with chat("my-model", "--engine", "echo", environ=home) as terminal:
        terminal.until("my-model at")
        children = descendants(terminal.process.pid)
        assert children
        terminal.process.send_signal(signal.SIGKILL)
        until(lambda: not [pid for pid in children if alive(pid)])


def test_a_server_that_ends_is_explained(home: dict[str, str]) -> None:
    with chat("my-model", "--engine", "echo", environ={**home, "ECHO_FAULT": "start"}) as terminal:
        assert terminal.ended() == 1
        assert "error:" in terminal.text
        assert "Traceback" not in terminal.text


def descendants(pid: int) -> list[int]:
    from engineroom.process import descendants as below

    return list(below(pid))


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
