"""A setting given as an option of the command line, as other programs take it: which variable it is here."""

from __future__ import annotations

from collections.abc import Sequence

import click


def explained(error: click.NoSuchOption, arguments: Sequence[str]) -> click.UsageError:
    """The error with the setting that the option looks like; the same error where it looks like none.

    Args:
        arguments: the whole command line, which may say which engine is meant.
    """
    from ..errors import EngineroomError

    try:
        setting = _setting(error.option_name, arguments)
    except EngineroomError:
        return error  # Settings that cannot be read are not what is wrong with this command line.
    own = {(param.name or "").upper() for param in error.ctx.command.params} if error.ctx else set()
    if setting is None or setting in own:
        return error  # An option of the command itself was meant, and click says which.
    command = error.ctx.command_path if error.ctx else "engineroom"
    return click.UsageError(
        f"No such option '{error.option_name}'. It is the setting {setting}: put `{setting}=…` before `{command}`, or "
        "into a file called .env",
        error.ctx,
    )


def _setting(option: str, arguments: Sequence[str]) -> str | None:
    """The setting that an option looks like, of the engine that is named, else of any that is installed."""
    from ..plugins.engines import loadable
    from ..plugins.groups import common_settings, known_names
    from ..settings.environment import Environment
    from ..settings.known_names import KnownNames

    if not option.startswith("--"):
        return None
    env = Environment.load()
    engines = loadable(env)
    named = _engine(arguments) or env.get("ENGINE", "")
    if named in engines:
        names = known_names(engines[named], env)
    else:
        groups = [group for engine in engines.values() for group in engine.settings(env)]
        names = KnownNames([*common_settings(), *groups])
    return names.meaning_of(option.removeprefix("--").upper().replace("-", "_"))


def _engine(arguments: Sequence[str]) -> str | None:
    """What follows `--engine`, or stands in `--engine=`."""
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if word == "--engine":
            return following
        if word.startswith("--engine="):
            return word.partition("=")[2]
    return None
