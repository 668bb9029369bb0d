"""`engineroom bake`: it downloads a model into an image while that is built."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import click

from ..settings.environment import BAKED_ARGS

SECRET = Path("/run/secrets/HF_TOKEN")
"""The file with the hub's token: a secret mount of the build, which leaves nothing in any layer of the image."""


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
    """Download the model and its tokenizer.

    Returns:
        The arguments to bake into the image, in which paths stand for names.

    Raises:
        SettingsError: no model is named.
        HubError: it cannot be downloaded.
    """
    from ..errors import Problem, SettingsError
    from ..models.files import weights
    from ..models.hub import download

    model = environ.get("MODEL_NAME")
    if not model:
        raise SettingsError([Problem("MODEL_NAME", "is not set; name the model to download, a repository of the hub")])
    cache = Path(environ.get("BASE_PATH") or "/models") / "huggingface-cache" / "hub"
    folder = download(model, environ.get("MODEL_REVISION") or None, cache, token)
    is_file = ":" in model
    arguments = {"MODEL_NAME": str(weights(folder)[0] if is_file else folder)}
    if environ.get("MODEL_REVISION"):
        # A branch may move; the folder is named after the commit that was downloaded.
        arguments["MODEL_REVISION"] = folder.name
    tokenizer = environ.get("TOKENIZER_NAME")
    if tokenizer:
        arguments["TOKENIZER_NAME"] = str(folder if tokenizer == model else download(tokenizer, None, cache, token))
    quantisation = environ.get("QUANTIZATION")
    if quantisation:
        arguments["QUANTIZATION"] = quantisation
    return arguments


def check(arguments: Mapping[str, str]) -> None:
    """Raise SettingsError for an argument that the engine would refuse when the image starts."""
    from .. import plugins
    from ..errors import SettingsError
    from ..settings.base import check_unknown
    from ..settings.environment import Environment

    engine_type, env = plugins.engine_class(Environment.load().with_arguments(arguments, "baked arguments"))
    problems = [
        problem
        for problem in check_unknown(env, plugins.settings_groups(engine_type, env), engine_type.aliases)
        if problem.variable in arguments
    ]
    if problems:
        raise SettingsError(problems)
