"""A chat in a terminal, from its first line to its last."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import aiohttp
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from engineroom.settings import suggest

from ..targets.connection import TargetError
from ..terminal_text import one_line, printable
from .answer import Answer
from .client import ChatClient
from .conversation import Conversation
from .keyboard import Keyboard
from .stats import stats_table
from .waiting import Waiting, models_of
from .words import HELP, Command, parse
from .writer import AnswerWriter

T = TypeVar("T")

_TICK_S = 0.1


class Stopped(Exception):
    """Ctrl-C ended what was waited for."""


class TerminalChat:
    """A chat with one target.

    Args:
        parameters: fields of every request, e.g. `temperature`.
        check: raises an error where the chat cannot go on, since its own server has ended.
    """

    def __init__(
        self,
        console: Console,
        client: ChatClient,
        session: aiohttp.ClientSession,
        conversation: Conversation,
        parameters: Mapping[str, Any],
        check: Callable[[], None],
    ) -> None:
        self._console = console
        self._client = client
        self._session = session
        self._conversation = conversation
        self._parameters = parameters
        self._check = check
        self._model = ""
        self._models: list[str] = []
        self._last_question = ""
        self._left = False

    async def run(self, model: str) -> None:
        """Chat until the user leaves.

        Args:
            model: the served model; empty for the server's first.

        Raises:
            TargetError: the server cannot be reached at the beginning, or has no such model.
            Stopped: Ctrl-C before it could.
        """
        await self._meet(model)
        self._say(f"{self._model} at {self._client.target.name}. /help lists commands, Ctrl-D leaves.")
        keyboard = Keyboard()
        interrupts = 0
        while not self._left:
            self._console.print()
            try:
                line = await keyboard.read()
            except EOFError:
                return
            except KeyboardInterrupt:
                interrupts += 1
                if interrupts == 2:
                    return
                self._say("Ctrl-D or another Ctrl-C leaves.")
                continue
            interrupts = 0
            self._check()
            await self._take(line)

    async def _meet(self, model: str) -> None:
        waiting = Waiting(self._client.target, f"connecting to {self._client.target.name}")
        self._models = await self._shown(waiting, models_of(self._client, waiting.say))
        if model and self._models and model not in self._models:
            raise TargetError(unknown_model(model, self._models))
        if not model and not self._models:
            raise TargetError(f"{self._client.target.name} does not say which models it serves; name one with --model")
        self._model = model or self._models[0]

    async def _take(self, line: str) -> None:
        """Do what a line asks for."""
        command = parse(line)
        if command is not None:
            await self._obey(command)
        elif line.strip():
            await self._ask(line.strip().removeprefix("/") if line.strip().startswith("//") else line.strip())

    async def _ask(self, question: str) -> None:
        """Ask the model, and write its answer."""
        self._last_question = question
        answer = Answer(model=self._model)
        waiting = Waiting(self._client.target, "waiting for the first token")
        self._console.print()
        try:
            with AnswerWriter(self._console, waiting) as writer:
                await self._stoppable(self._stream(question, answer, writer, waiting))
        except Stopped:
            self._say("(stopped)")
        except TargetError as error:
            self._complain(str(error))
            if not answer.text:
                self._say(_remedy(error, self._conversation))
        if answer.finish_reason == "length":
            self._say("(cut off: the limit of tokens is reached)")
        elif answer.finish_reason and not answer.text.strip():
            self._say("(the answer is empty)")
        self._conversation.note(question, answer)

    async def _stream(self, question: str, answer: Answer, writer: AnswerWriter, waiting: Waiting) -> None:
        watching = asyncio.ensure_future(waiting.watch(self._session))
        drawing = asyncio.ensure_future(_repeat(writer.draw))
        pieces = self._client.stream(self._conversation.asking(question), answer, self._parameters)
        try:
            async with contextlib.aclosing(pieces):  # type: ignore[type-var]
                async for piece in pieces:
                    writer.add(piece)
        finally:
            watching.cancel()
            drawing.cancel()
            await asyncio.gather(watching, drawing, return_exceptions=True)

    async def _obey(self, command: Command) -> None:
        if command.name == "/bye":
            self._left = True
        elif command.name == "/help":
            self._console.print(_help())
        elif command.name == "/stats":
            self._console.print(stats_table(self._conversation.answers, self._client.target.name))
        elif command.name == "/clear":
            self._conversation.clear()
            self._say("Forgotten; the next message begins a new conversation.")
        elif command.name == "/system":
            self._system(command.argument)
        elif command.name == "/model":
            await self._choose_model(command.argument)
        elif command.name == "/retry":
            await self._retry()
        else:
            self._complain(command.unknown_text)

    def _system(self, text: str) -> None:
        if text:
            self._conversation.system = "" if text == "-" else text
        current = self._conversation.system
        self._say(f"The system prompt is: {current}" if current else "There is no system prompt.")

    async def _choose_model(self, name: str) -> None:
        try:
            waiting = Waiting(self._client.target, "asking for the models")
            self._models = await self._shown(waiting, self._client.models())
        except (TargetError, Stopped) as error:
            self._complain(str(error))
            return
        if name and self._models and name not in self._models:
            self._complain(unknown_model(name, self._models))
            return
        self._model = name or self._model
        for model in self._models or [self._model]:
            mark = "*" if model == self._model else " "
            self._console.print(Text(printable(f"{mark} {model}")), soft_wrap=True)

    async def _retry(self) -> None:
        messages = self._conversation.messages
        if not self._last_question:
            self._say("There is no question yet.")
            return
        if messages and messages[-2]["content"] == self._last_question:
            del messages[-2:]
        await self._ask(self._last_question)

    async def _shown(self, waiting: Waiting, work: Awaitable[T]) -> T:
        """The result of work, with a spinner meanwhile. Raises Stopped at Ctrl-C."""
        spinner = Spinner("dots", style="dim")
        with Live(spinner, console=self._console, transient=True, auto_refresh=False) as live:

            def draw() -> None:
                spinner.update(text=Text(printable(waiting()), style="dim", no_wrap=True, overflow="ellipsis"))
                live.refresh()

            drawing = asyncio.ensure_future(_repeat(draw))
            watching = asyncio.ensure_future(waiting.watch(self._session))
            try:
                return await self._stoppable(work)
            finally:
                drawing.cancel()
                watching.cancel()
                await asyncio.gather(drawing, watching, return_exceptions=True)

    async def _stoppable(self, work: Awaitable[T]) -> T:
        """The result of work that Ctrl-C ends. Raises Stopped where it did."""
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, task.cancel)
        try:
            return await task
        except asyncio.CancelledError:
            raise Stopped from None
        finally:
            loop.remove_signal_handler(signal.SIGINT)

    def _say(self, text: str) -> None:
        self._console.print(Text(printable(text), style="dim"))

    def _complain(self, text: str) -> None:
        self._console.print(Text.assemble(("error: ", "bold red"), printable(text)))


async def _repeat(draw: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(_TICK_S)
        draw()


def unknown_model(name: str, models: list[str]) -> str:
    """That a model is not served, and which are."""
    near = suggest(name, models)
    hint = f"did you mean {near}?" if near else f"it has {one_line(', '.join(models))}"
    return f"the server has no model {name!r}; {hint}"


def _remedy(error: TargetError, conversation: Conversation) -> str:
    if error.status == 400 and conversation.messages and "context" in str(error).lower():
        return "Not answered: the conversation may be too long for the model; /clear begins a new one."
    if error.retry_after is not None:
        return f"Not answered. The server asks to wait {error.retry_after:g} s; then /retry asks again."
    return "Not answered; /retry asks again."


def _help() -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for usage, what in HELP.items():
        table.add_row(Text(usage, style="bold"), Text(what))
    table.add_row()
    table.add_row(
        Text("Alt-Enter", style="bold"), Text('a new line, as a \\ at the end of one, and """ around several')
    )
    table.add_row(Text("Ctrl-C", style="bold"), Text("stops an answer"))
    table.add_row(Text("↑ ↓, Ctrl-R", style="bold"), Text("what you wrote before, in earlier chats, too"))
    return table
