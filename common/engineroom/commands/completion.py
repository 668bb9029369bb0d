"""`engineroom completion`: the script with which a shell completes engineroom's command lines."""

from __future__ import annotations

import click

_SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print the script with which a shell completes command lines.

    It completes commands, options, files and the names of engines. To have it in every new shell:

    \b
        engineroom completion bash >> ~/.bashrc
        engineroom completion zsh >> ~/.zshrc
        engineroom completion fish > ~/.config/fish/completions/engineroom.fish
    """
    from click.shell_completion import get_completion_class

    from .command_line import COMPLETE, cli

    script = get_completion_class(shell)
    assert script is not None
    click.echo(script(cli, {}, "engineroom", COMPLETE).source())
