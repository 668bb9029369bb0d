"""What the command line of every door takes: the model and the engine, as settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., Any])


def takes_model(command: F) -> F:
    """The argument MODEL and the options `--model` and `--engine`, for a command of click's."""
    help_model = "The same as MODEL (or set MODEL_NAME)."
    help_engine = "The engine to run (or set ENGINE). Default: one that can serve the model."
    command = click.option("--model", "model_name", metavar="MODEL", help=help_model, shell_complete=_complete_models)(
        command
    )
    command = click.option("--engine", metavar="NAME", help=help_engine, shell_complete=_complete_engines)(command)
    return click.argument("model", required=False, shell_complete=_complete_models)(command)


def _complete_models(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Files, as the shell completes them."""
    return [CompletionItem(incomplete, type="file")]


def _complete_engines(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from engineroom import plugins

    return [CompletionItem(name) for name in plugins.engine_names() if name.startswith(incomplete)]


def as_settings(
    given: Mapping[str, str | int | None], settings: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """A command line's arguments by the names of settings.

    Args:
        settings: those that are no options of the command itself, see `SettingsCommand`.

    Raises:
        click.UsageError: two models are named.
    """
    values = {name.upper(): str(value) for name, value in given.items() if value is not None}
    values.update(settings)
    model = values.pop("MODEL", None)
    if model is None:
        return values
    if values.get("MODEL_NAME", model) != model:
        raise click.UsageError(f"two models are named, {model} and --model {values['MODEL_NAME']}; name only one")
    return {**values, "MODEL_NAME": model}
