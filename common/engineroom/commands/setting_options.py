"""Settings as options of the command line: `--max-model-len 4096` is MAX_MODEL_LEN=4096, above all other places."""

from __future__ import annotations

import click

SETTINGS = "settings"
"""The parameter of a `SettingsCommand` that has its settings: variable -> value."""


class SettingsCommand(click.Command):
    """A command whose unknown options are settings: `--name VALUE`, `--name=VALUE`, or `--name` and `--no-name` alone.

    What follows an option is its value, unless it begins with `--` itself. Whether there are such settings is found out
    where all settings are read, so that a mistyped one is told there like one of a file.

    Its function gets them as `settings`.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the settings out, and let click parse the rest.

        Raises:
            click.UsageError: a setting is given twice, or the rest is wrong.
        """
        rest, settings = self._separate(ctx, args)
        remaining = super().parse_args(ctx, rest)
        ctx.params[SETTINGS] = settings
        return remaining

    def _separate(self, ctx: click.Context, args: list[str]) -> tuple[list[str], dict[str, str]]:
        own = self._own_options(ctx)
        rest: list[str] = []
        settings: dict[str, str] = {}
        waiting = list(args)
        while waiting:
            word = waiting.pop(0)
            option, equals, value = word.partition("=")
            if word == "--":
                return [*rest, word, *waiting], settings
            if not option.startswith("--") or option in own:
                rest.append(word)
                # The value of one of click's options may look like anything.
                if option in own and own[option] and not equals and waiting:
                    rest.append(waiting.pop(0))
                continue
            if not equals and waiting and not waiting[0].startswith("--"):
                equals = "="
                value = waiting.pop(0)
            variable = option.removeprefix("--").upper().replace("-", "_")
            if not equals:
                value = "false" if variable.startswith("NO_") else "true"
                variable = variable.removeprefix("NO_")
            if variable in settings:
                raise click.UsageError(f"{option} is given twice; several values go into one, with commas", ctx)
            settings[variable] = value
        return rest, settings

    def _own_options(self, ctx: click.Context) -> dict[str, bool]:
        """The options that the command has itself -> whether a value follows."""
        return {
            name: not (parameter.is_flag or parameter.count)
            for parameter in self.get_params(ctx)
            if isinstance(parameter, click.Option)
            for name in (*parameter.opts, *parameter.secondary_opts)
        }
