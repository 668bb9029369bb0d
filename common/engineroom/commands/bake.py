"""`engineroom bake`: a model into an image, while the image is built."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engineroom.settings.environment import BAKED_ARGS

if TYPE_CHECKING:
    from collections.abc import Mapping

SECRET = Path("/run/secrets/HF_TOKEN")
"""Where a build finds the token: a secret mount, which leaves nothing in any layer."""


@click.command()
@click.option("--secret", type=click.Path(path_type=Path), default=SECRET, help="The file that has the hub's token.")
@click.option("--arguments", type=click.Path(path_type=Path), default=BAKED_ARGS, help="The file to write.")
def bake(secret: Path, arguments: Path) -> None:
    """Download a model into the image being built.

    Reads MODEL_NAME, MODEL_REVISION, TOKENIZER_NAME, QUANTIZATION and BASE_PATH from the environment. The files are
    stored in BASE_PATH/huggingface-cache/hub; /local_model_args.json names them and takes precedence over the
    environment. The hub's token is read from a secret file, never from an argument.
    """
    token = secret.read_text().strip() if secret.is_file() else None
    baked = collect(os.environ, token or None)
    check(baked)
    arguments.write_text(json.dumps(baked, indent=2) + "\n")
    click.echo(f"baked {baked['MODEL_NAME']}; {arguments} names it")


def collect(environ: Mapping[str, str], token: str | None) -> dict[str, str]:
    """Download what is asked for; the arguments to note, with paths for names.

    Raises:
        SettingsError: no model is named.
        HubError: it cannot be had.
    """
    from engineroom.errors import Problem, SettingsError
    from engineroom.models.files import weights
    from engineroom.models.hub import download

    model = environ.get("MODEL_NAME")
    if not model:
        raise SettingsError([Problem("MODEL_NAME", "is not set; name the model to download, a repository of the hub")])
    cache = Path(environ.get("BASE_PATH") or "/models") / "huggingface-cache" / "hub"
    folder = download(model, environ.get("MODEL_REVISION") or None, cache, token)
    named = ":" in model
    arguments = {"MODEL_NAME": str(weights(folder)[0] if named else folder)}
    if environ.get("MODEL_REVISION"):
        arguments["MODEL_REVISION"] = folder.name
    if tokenizer := environ.get("TOKENIZER_NAME"):
        arguments["TOKENIZER_NAME"] = str(folder if tokenizer == model else download(tokenizer, None, cache, token))
    if quantisation := environ.get("QUANTIZATION"):
        arguments["QUANTIZATION"] = quantisation
    return arguments


def check(arguments: Mapping[str, str]) -> None:
    """Refuse an argument that the engine would refuse when the image starts. Raises SettingsError."""
    from engineroom import plugins
    from engineroom.errors import SettingsError
    from engineroom.settings.base import check_unknown
    from engineroom.settings.environment import Environment, Layer

    layers = [Layer("baked arguments", arguments, owned=True), *Environment.load().layers]
    found, env = plugins.engine_class(Environment(layers))
    problems = [
        problem
        for problem in check_unknown(env, plugins.settings_groups(found, env), found.aliases)
        if problem.variable in arguments
    ]
    if problems:
        raise SettingsError(problems)
