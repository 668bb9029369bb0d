"""`engineroom`: a command line whose commands are plugins, so that the core knows no door."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import click

from .. import __version__
from ..errors import EngineroomError, EngineStartError, PluginError, Problem, SettingsError
from ..installation import entry_points_of
from .unknown_option import explained

GROUP = "engineroom.commands"

COMPLETE = "_ENGINEROOM_COMPLETE"
"""The variable by which a shell asks for completions."""


_OTHER_WORDS = {
    "run": "serve",
    "chat": "serve",
    "list": "models",
    "ls": "models",
    "ps": "models",
    "download": "pull",
    "fetch": "pull",
    "get": "pull",
    "settings": "config",
    "test": "check",
    "benchmark": "bench",
    "loadtest": "bench",
    "help": "--help",
    "version": "--version",
}
"""What other programs call it -> what it is called here."""


class Commands(click.Group):
    """The commands of all installed distributions. A command is imported when it is called."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0]
        if word in self._entry_points() or word.startswith("-"):
            return super().resolve_command(ctx, args)
        from ..settings.suggestions import suggest

        near = suggest(word.lower(), [*self.list_commands(ctx), *_OTHER_WORDS])
        meant = _OTHER_WORDS.get(near or "", near)
        if Path(word).expanduser().exists() or "/" in word:
            raise click.UsageError(f"{word} is not a command; to serve a model: `engineroom serve {word}`", ctx)
        hint = f" Did you mean `engineroom {meant}`?" if meant else ""
        raise click.UsageError(f"There is no command {word!r}.{hint}", ctx)

    def _entry_points(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points_of(GROUP)}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._entry_points())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry_point = self._entry_points().get(cmd_name)
        command: click.Command | None = entry_point.load() if entry_point else None
        return command


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="engineroom")
def cli() -> None:
    """One LLM inference worker for any engine.

    \b
        engineroom serve MODEL     serve a model that is here or on the Hugging Face Hub
        engineroom models          what is here
        engineroom config --all    every setting, its value, and what it does

    Settings are environment variables, lines of `.env`, or entries of the file that ENGINEROOM_CONFIG names.

    Exit codes: 0 for success, also after SIGTERM or Ctrl-C; 1 if the engine failed; 2 if a setting or the command
    line is wrong; 130 for Ctrl-C before anything was served.
    """


def run() -> int:
    """Run the command that the process was started with; its exit code, see `cli.main`."""
    # click looks only whether there is a terminal. See https://no-color.org.
    colour = False if os.environ.get("NO_COLOR") else None
    try:
        cli.main(prog_name="engineroom", complete_var=COMPLETE, standalone_mode=False, color=colour)
    except click.exceptions.Abort:
        return 130
    except click.NoSuchOption as error:
        explained(error, sys.argv[1:]).show()
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except EngineroomError as error:
        if not _logged(error):
            click.echo(describe(error), err=True, color=colour)
        return 2 if isinstance(error, (SettingsError, PluginError)) else 1
    return 0


def _logged(error: EngineroomError) -> bool:
    """Log an error if the log is JSON: its readers look there for the reason, and no text may stand between.

    Returns:
        Whether it was logged.
    """
    import logging

    from ..logs import JSONFormatter

    if not any(isinstance(handler.formatter, JSONFormatter) for handler in logging.getLogger().handlers):
        return False
    logging.getLogger("engineroom").critical("%s", error)
    return True


def describe(error: EngineroomError) -> str:
    """The text of an error for a person at a terminal.

    If an engine failed to start, its last lines stand before it, unless the log above has them.
    """
    if isinstance(error, EngineStartError) and error.log and not (error.logged and _shows_engines()):
        title = click.style("the last lines of its output:", dim=True)
        return "\n".join([title, *(f"  | {line}" for line in error.log[-20:]), _error(str(error))])
    if isinstance(error, SettingsError) and len(error.problems) > 1:
        lines = "\n".join(_indented(problem) for problem in error.problems)
        return _error(f"{len(error.problems)} settings are wrong:\n{lines}")
    return _error(str(error))


def _indented(problem: Problem) -> str:
    """A problem as one of several: indented, in a terminal folded to its width, with the setting's name in red."""
    text = f"  {problem}"
    if sys.stderr.isatty():
        text = _wrapped(text, shutil.get_terminal_size().columns)
    return text.replace(problem.variable, click.style(problem.variable, fg="red"), 1)


def _shows_engines() -> bool:
    """Whether this program writes a log, with what engines say of their ordinary doings."""
    import logging

    return bool(logging.getLogger().handlers) and logging.getLogger("engine").isEnabledFor(logging.INFO)


def _error(text: str) -> str:
    """The text as an error: on a terminal broken between words, so that addresses and commands stay whole."""
    whole = f"error: {text}"
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns
        whole = "\n".join(_wrapped(line, width) for line in whole.splitlines())
    return click.style("error: ", fg="red", bold=True) + whole.removeprefix("error: ")


def _wrapped(line: str, width: int) -> str:
    import textwrap

    if "\x1b" in line:
        return line  # It has its colours, and so its width, already.
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
