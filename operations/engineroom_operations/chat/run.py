"""A run of `engineroom chat`: the target, its server where it is ours, and the chat in a terminal or a pipe."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import click

from engineroom.errors import EngineroomError
from engineroom.settings import Environment

from ..targets.connection import TargetError, open_session
from ..targets.local import local_server
from ..targets.resolve import ModelToServe, resolve
from ..targets.target import RemoteTarget
from ..terminal_keys import quiet_keys
from .client import ChatClient
from .conversation import Conversation
from .own_server import ServeFailed, own_server
from .pipe import answer_once

_INTERRUPTED = 130


class ChatRun(NamedTuple):
    """What the command line asks for.

    target: a URL, a RunPod endpoint or a model; empty for the server on this machine.
    model: the served model; empty for the server's first.
    parameters: fields of every request.
    """

    target: str
    system: str
    model: str
    api_key: str
    engine: str
    parameters: Mapping[str, Any]


async def run(wanted: ChatRun) -> int:
    """Chat; the exit code.

    Raises:
        TargetError: the server cannot be reached or does not answer.
        click.UsageError: there is nothing to ask, or --engine stands beside what is no model.
    """
    env = Environment.load()
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    prompt = "" if interactive else _prompt()
    place = await _place(wanted, env)
    if wanted.engine and isinstance(place, RemoteTarget):
        raise click.UsageError(f"--engine is for a MODEL that is served here, and {place.name} is a server already")
    keys = quiet_keys() if interactive else contextlib.nullcontext()
    chatting = asyncio.ensure_future(_chat(wanted, place, env, prompt, interactive))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        loop.add_signal_handler(number, chatting.cancel)
    try:
        with keys:
            return await chatting
    except asyncio.CancelledError:
        return _INTERRUPTED
    except ServeFailed as error:
        click.echo(f"{click.style('error:', fg='red', bold=True)} {error}", err=True)
        return 2 if error.code == 2 else 1
    except BrokenPipeError:
        # Whoever read the answer has had enough of it. What is buffered must not fail again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


async def _place(wanted: ChatRun, env: Environment) -> RemoteTarget | ModelToServe:
    if wanted.target:
        return await resolve(wanted.target, env, wanted.api_key)
    if wanted.engine:
        raise click.UsageError("--engine is for a MODEL, and none is named")
    return local_server(env, wanted.api_key)


async def _chat(
    wanted: ChatRun, place: RemoteTarget | ModelToServe, env: Environment, prompt: str, interactive: bool
) -> int:
    conversation = Conversation(wanted.system)
    async with _served(wanted, place, env, interactive) as (target, check), open_session(target) as session:
        client = ChatClient(session, target)
        try:
            if interactive:
                return await _in_terminal(wanted, client, session, conversation, check)
            await answer_once(client, conversation, prompt, wanted.model, wanted.parameters)
        except TargetError as error:
            check()
            raise _with_remedy(error, wanted, target) from error
    return 0


@asynccontextmanager
async def _served(
    wanted: ChatRun, place: RemoteTarget | ModelToServe, env: Environment, interactive: bool
) -> AsyncIterator[tuple[RemoteTarget, Callable[[], None]]]:
    """The target, whose server is started where it is ours, and what raises an error once that has ended."""
    if isinstance(place, RemoteTarget):
        yield place, lambda: None
        return
    from .loading import shown_loading

    async with own_server(place.name, wanted.engine, env) as server:
        await shown_loading(server, place.name, interactive)
        yield server.target, server.check


async def _in_terminal(
    wanted: ChatRun,
    client: ChatClient,
    session: Any,
    conversation: Conversation,
    check: Callable[[], None],
) -> int:
    from rich.console import Console

    from .markdown import THEME
    from .terminal import Stopped, TerminalChat

    console = Console(theme=THEME, highlight=False)
    try:
        await TerminalChat(console, client, session, conversation, wanted.parameters, check).run(wanted.model)
    except Stopped:
        return _INTERRUPTED
    return 0


def _prompt() -> str:
    """The prompt on standard input. Raises click.UsageError where there is none."""
    text = sys.stdin.buffer.read().decode("utf-8", "replace").rstrip("\n")
    if not text.strip():
        raise click.UsageError("standard input is no terminal, and has no prompt either: pipe one in")
    return text


def _with_remedy(error: TargetError, wanted: ChatRun, target: RemoteTarget) -> EngineroomError:
    """The error, and how to get a server where none was named and none is there."""
    if wanted.target or error.status:
        return error
    return TargetError(
        f"no server answers at {target.address.url}: `engineroom serve MODEL` starts one, `engineroom chat MODEL` one "
        f"for the chat alone, and `engineroom chat URL` takes another ({error})"
    )
