"""The commands of a chat, which begin with a slash."""

from __future__ import annotations

from typing import NamedTuple

from engineroom.settings import suggest

HELP = {
    "/help": "this list",
    "/stats": "time to first token, tokens per second, tokens",
    "/model [NAME]": "the served models; or change to one of them",
    "/system [TEXT]": "the system prompt; or another one, `-` for none",
    "/retry": "ask the last question again, in place of its answer",
    "/clear": "forget what was said; the system prompt stays",
    "/bye": "leave, as Ctrl-D does",
}
NAMES = tuple(usage.partition(" ")[0] for usage in HELP)
_OTHER_NAMES = {
    "/?": "/help",
    "/quit": "/bye",
    "/exit": "/bye",
    "/new": "/clear",
    "/reset": "/clear",
    "/models": "/model",
}


class Command(NamedTuple):
    """A command and what follows it. name: one of NAMES, or what nobody knows."""

    name: str
    argument: str = ""

    @property
    def known(self) -> bool:
        return self.name in NAMES

    @property
    def unknown_text(self) -> str:
        """What is said of a command that there is not."""
        meant = suggest(self.name, [*NAMES])
        hint = f" Did you mean {meant}?" if meant else " /help lists what there is."
        return f"There is no command {self.name}.{hint}"


def parse(line: str) -> Command | None:
    """The command that a line is; None for a message to the model.

    A path at the beginning of a message is none: `/usr/bin/env` has more slashes. Two slashes begin a message that
    begins with one.
    """
    word, _, argument = line.strip().partition(" ")
    if not word.startswith("/") or word == "/" or "/" in word[1:] or "\n" in word:
        return None
    name = word.lower()
    return Command(_OTHER_NAMES.get(name, name), argument.strip())
