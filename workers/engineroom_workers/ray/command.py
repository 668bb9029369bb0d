"""`engineroom ray`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import click

from engineroom.commands.setting_options import SettingsCommand

from ..arguments import as_settings, takes_model


@click.command(cls=SettingsCommand)
@takes_model
@click.option("--host", help="The address to listen on (or set HOST).  [default: 127.0.0.1]")
@click.option("--port", type=int, help="The port to listen on (or set PORT).  [default: 8000]")
def ray(settings: Mapping[str, str] = MappingProxyType({}), **given: str | int | None) -> None:
    """Serve a model with Ray Serve, on replicas.

    Each replica has an engine of its own, on this machine or on a cluster.

    MODEL is a file, a folder, or a repository of the Hugging Face Hub, which is downloaded if it is not here. An engine
    that can serve it is taken, unless ENGINE names one.

    \b
        engineroom ray Qwen/Qwen3-8B --replicas 2 --max-replicas 8
        RAY_ADDRESS=auto engineroom ray Qwen/Qwen3-8B

    Without RAY_ADDRESS a cluster of its own is started, which ends with it. On SIGTERM or Ctrl-C running requests have
    DRAIN_TIMEOUT seconds to finish. For `serve run` and the YAML of KubeRay the same is `engineroom_workers.ray:app`.

    Every setting is an option, too: --max-model-len 4096 is MAX_MODEL_LEN=4096. `engineroom config --all` lists them.
    Other users of this machine can read a command line: a secret belongs into the environment or into .env.
    """
    from engineroom import logs, plugins
    from engineroom.settings import Environment

    from ..extras import need
    from .options import DOORS, RayOptions

    env = Environment.load().with_arguments(as_settings(given, settings))
    logs.configure_before(env)
    need("ray", "ray", "starlette", "httptools")
    setup = plugins.set_up(env, RayOptions.load, door=DOORS)
    logs.configure(setup.worker)
    setup.log_notes()

    from .run import run

    run(setup)
