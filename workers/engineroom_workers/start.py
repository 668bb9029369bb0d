"""`engineroom start`, which an image runs: it checks the machine and opens the door that WORKER names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import click
from pydantic import Field

from engineroom.commands.setting_options import SettingsCommand
from engineroom.errors import EngineroomError
from engineroom.settings import Settings


class StartSettings(Settings):
    """What an image starts, and which image it is."""

    title: ClassVar[str] = "Image"

    worker: Literal["runpod", "http"] = Field(
        "runpod", description="What `engineroom start` runs: `runpod`, the queue worker, or `http`, the HTTP server."
    )
    engineroom_image: str | None = Field(
        None,
        description="The image's own name, set in every image: at the start GPU and driver are compared with what it "
        "was built for. An empty value skips this.",
    )


@click.command(cls=SettingsCommand)
@click.pass_context
def start(context: click.Context, settings: Mapping[str, str]) -> None:
    """Start the worker as the images do.

    Checks that GPU and driver suit the image, then runs `engineroom runpod`, or `engineroom serve` if WORKER=http.
    Every setting is an option, too: --max-model-len 4096 is MAX_MODEL_LEN=4096.
    """
    from engineroom.hardware import gpus
    from engineroom.settings import Environment

    from .runpod.command import runpod, tell

    try:
        env = Environment.load().with_arguments(settings)
        image = StartSettings.load(env)
    except EngineroomError as error:
        tell(error)
        raise
    try:
        gpus.check_machine(env)
    except EngineroomError as error:
        # Another machine may have the right GPU, or the driver.
        tell(error, env, answer=False)
        raise
    if image.worker == "http":
        from .http.command import serve

        context.invoke(serve, settings=settings)
    else:
        context.invoke(runpod, settings=settings)
