"""The line that a person types into: editing, several lines, a history that is kept, completion of commands."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from .words import NAMES

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

PROMPT = "> "
CONTINUATION = "  "
QUOTES = '"""'


class Keyboard:
    """Reads messages from the terminal."""

    def __init__(self) -> None:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.completion import WordCompleter
        from prompt_toolkit.filters import Condition
        from prompt_toolkit.formatted_text import FormattedText

        def at_command() -> bool:
            return session.default_buffer.document.text_before_cursor.startswith("/")

        session: PromptSession[str] = PromptSession(
            FormattedText([("bold", PROMPT)]),
            multiline=True,
            prompt_continuation=CONTINUATION,
            history=_history(),
            key_bindings=_bindings(),
            completer=WordCompleter(list(NAMES), sentence=True),
            complete_while_typing=Condition(at_command),
            reserve_space_for_menu=4,
        )
        self._session = session

    async def read(self) -> str:
        """One message, without the quotes and backslashes that held its lines together.

        Raises:
            EOFError: Ctrl-D.
            KeyboardInterrupt: Ctrl-C.
        """
        return unquoted(await self._session.prompt_async())


def unfinished(text: str) -> bool:
    """Whether Enter goes on with the message: after a backslash, and between three quotes and three quotes."""
    opened = text.lstrip().startswith(QUOTES)
    if opened:
        rest = text.strip()[len(QUOTES) :]
        return not rest.endswith(QUOTES)
    return text.endswith("\\")


def unquoted(text: str) -> str:
    """The message itself."""
    stripped = text.strip()
    if stripped.startswith(QUOTES) and stripped.endswith(QUOTES) and len(stripped) >= 2 * len(QUOTES):
        return stripped[len(QUOTES) : -len(QUOTES)].strip("\n")
    return text.replace("\\\n", "\n")


def _bindings() -> KeyBindings:
    from prompt_toolkit.key_binding import KeyBindings

    bindings = KeyBindings()

    @bindings.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if unfinished(buffer.text):
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @bindings.add("escape", "enter")
    @bindings.add("c-j")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return bindings


def history_file() -> Path:
    """Where the messages of all sessions are kept, for the arrow keys and Ctrl-R."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "engineroom" / "chat_history"


def _history() -> History:
    """The history, in a file that only its owner can read; in memory where there can be no file."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    file = history_file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        with file.open("ab"):
            return FileHistory(str(file))
    except (OSError, RuntimeError):
        return InMemoryHistory()
