"""`engineroom pull`: it downloads a model and says how to serve it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..models.download import DownloadedModel


@click.command()
@click.argument("model")
@click.option("--revision", help="A branch, tag or commit of the repository.  [default: main]")
@click.option("--engine", metavar="NAME", help="Take the weights that this engine loads (or set ENGINE).")
@click.option("--if-missing", is_flag=True, help="Ask the hub only where no cache has the model whole.")
def pull(model: str, revision: str | None, engine: str | None, if_missing: bool) -> None:
    """Download a model, and say where it is and how to serve it.

    MODEL is a repository of the Hugging Face Hub, `org/name` or its address. Of several GGUF files the usual
    quantisation is taken, Q4_K_M; `org/name:Q8_0` names another. An interrupted download is resumed.

    \b
        engineroom pull unsloth/Qwen3-8B-GGUF
        engineroom pull Qwen/Qwen3-0.6B

    HF_TOKEN opens gated and private repositories, HF_ENDPOINT names another hub, HF_HOME the folder of the cache.
    With --if-missing, which is for whatever starts again and again, a model that is here needs no hub.
    """
    from .. import logs
    from ..errors import PluginError, Problem, Problems, SettingsError
    from ..models import reference
    from ..models.files import cache_folders
    from ..models.settings import HubSettings
    from ..plugins.recognition import engine_class
    from ..progress import size_text
    from ..settings.environment import Environment
    from ..settings.worker import WorkerSettings

    named = reference.parse(model)
    if named.path is not None:
        click.echo(f"{named.path} is on this machine already:\n\n  engineroom serve {model}")
        return
    if named.repository is None:
        raise SettingsError(
            [Problem("MODEL", f"{model} is not a repository of a hub; repositories are called `org/name`")]
        )
    arguments = {"MODEL_NAME": named.name, "MODEL_REVISION": revision or named.revision or "", "ENGINE": engine or ""}
    env = Environment.load().with_arguments({name: value for name, value in arguments.items() if value})
    logs.configure(WorkerSettings.load_valid(env, Problems()))
    settings = HubSettings.load(env)
    environ = settings.environ(env)
    formats: tuple[str, ...] = ()
    lacking = ""
    try:
        formats = engine_class(env)[0].model_formats
    except PluginError as error:
        lacking = str(error)
    cached = settings.cached(named.repository, named.wanted, env.get("MODEL_REVISION"), environ) if if_missing else None
    if cached is not None:
        click.echo(f"{named.name} is on this machine already, {size_text(_size(cached))}: {cached}")
        return
    options: dict[str, Any] = {
        "revision": env.get("MODEL_REVISION"),
        "cache": str(cache_folders(environ)[0]),
        "wanted": named.wanted,
        "formats": formats,
    }
    pulled = asyncio.run(_download(named.repository, environ, options))
    click.echo(f"{named.name} is here, {size_text(_size(pulled.place))}: {pulled.place}\n")
    click.echo(f"  engineroom serve {named.name}")
    if lacking:
        click.echo(f"\n{lacking}")


async def _download(repository: str, environ: Mapping[str, str], options: Mapping[str, Any]) -> DownloadedModel:
    """Download, and keep what there is of it when a signal ends that."""
    from ..models.download import download
    from ..timeline import Timeline
    from ..waiting import waiting

    timeline = Timeline()
    task = asyncio.ensure_future(download(repository, environ, timeline, **options))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        async with waiting(timeline, lambda: f"asking the hub for {repository}"):
            return await task
    except asyncio.CancelledError:
        click.echo("stopped; what has been downloaded is kept, and the same command resumes from there", err=True)
        raise click.Abort from None


def _size(place: Path) -> int:
    from ..models.on_disk import at_file, in_folder

    if place.is_dir():
        return sum(model.size for model in in_folder(place, 0))
    parts = place.parent.glob(place.name.replace("-00001-of-", "-*-of-")) if "-00001-of-" in place.name else [place]
    return sum(model.size for model in map(at_file, parts) if model is not None)
