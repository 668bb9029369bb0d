"""`engineroom bake`: it downloads a model into an image while that is built."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
    click.echo(f"baked {baked['MODEL_NAME']}; {arguments} records it")


def collect(environ: Mapping[str, str], token: str | None) -> dict[str, str]:
    """Download the model and its tokenizer.

    Returns:
        The arguments to bake into the image, in which paths stand for names.

    Raises:
        SettingsError: no model is named.
        EngineStartError: it cannot be downloaded.
    """
    import asyncio

    from ..errors import Problem, SettingsError
    from ..models import reference
    from ..models.download import DownloadedModel, download
    from ..timeline import Timeline
    from ..waiting import waiting

    given = environ.get("MODEL_NAME")
    if not given:
        raise SettingsError([Problem("MODEL_NAME", "is not set; name the model to download, a repository of the hub")])
    model = reference.parse(given, environ)
    revision = environ.get("MODEL_REVISION") or model.revision
    cache = Path(environ.get("BASE_PATH") or "/models") / "huggingface-cache" / "hub"
    hub_environ = {**environ, "HF_TOKEN": token} if token else dict(environ)

    async def fetch(repository: str, **options: Any) -> DownloadedModel:
        timeline = Timeline()
        async with waiting(timeline, lambda: f"downloading {repository}"):
            return await download(repository, hub_environ, timeline, cache=str(cache), **options)

    repository = model.repository or model.name
    baked = asyncio.run(fetch(repository, revision=revision, wanted=model.wanted))
    arguments = {"MODEL_NAME": str(baked.place)}
    if revision:
        # A branch may move; the folder is named after the commit that was downloaded.
        arguments["MODEL_REVISION"] = baked.folder.name
    tokenizer = environ.get("TOKENIZER_NAME")
    if tokenizer:
        own = None if tokenizer == given else asyncio.run(fetch(tokenizer, weights=False))
        arguments["TOKENIZER_NAME"] = str((own or baked).folder)
    quantisation = environ.get("QUANTIZATION")
    if quantisation:
        arguments["QUANTIZATION"] = quantisation
    return arguments


def check(arguments: Mapping[str, str]) -> None:
    """Raise SettingsError for an argument that the engine would refuse or ignore when the image starts."""
    from ..errors import Problem, SettingsError
    from ..plugins.groups import known_names
    from ..plugins.recognition import engine_class
    from ..settings.environment import Environment

    engine_type, env = engine_class(Environment.load().with_arguments(arguments, "baked arguments"))
    checked = known_names(engine_type, env).check(env)
    problems = [problem for problem in checked.problems if problem.variable in arguments]
    ignored = [notice for notice in checked.warnings if notice.variable in arguments]
    problems += [Problem(notice.variable, notice.message, notice.source) for notice in ignored]
    if problems:
        raise SettingsError(problems)
