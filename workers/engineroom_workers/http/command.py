"""`engineroom serve`."""

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
def serve(settings: Mapping[str, str] = MappingProxyType({}), **given: str | int | None) -> None:
    """Serve a model over HTTP, for any OpenAI client.

    MODEL is a file, a folder, or a repository of the Hugging Face Hub, which is downloaded if it is not here. An engine
    that can serve it is taken, unless ENGINE names one.

    \b
        engineroom serve ~/models/qwen3-8b-q4_k_m.gguf
        engineroom serve unsloth/Qwen3-8B-GGUF:Q8_0
        engineroom serve https://huggingface.co/Qwen/Qwen3-0.6B

    The port is open at once: /ping answers 204 while the model loads, 200 when it is ready, and 503 if the engine
    has died; /health gives the reason. On SIGTERM or Ctrl-C running requests have DRAIN_TIMEOUT seconds to finish.

    Every setting is an option, too: --max-model-len 4096 is MAX_MODEL_LEN=4096. `engineroom config --all` lists them.
    Other users of this machine can read a command line: a secret belongs into the environment or into .env.
    """
    from engineroom import logs, plugins
    from engineroom.settings import Environment
    from engineroom.timeline import process_age

    from ..extras import need
    from .options import Options

    began = process_age()
    need("http", "uvicorn", "starlette", "httptools", "uvloop")
    env = Environment.load().with_arguments(as_settings(given, settings))
    logs.configure_before(env)
    setup = plugins.set_up(env, Options.load, door="http")
    options = setup.door
    logs.configure(options.worker)
    setup.log_notes()
    setup.engine.timeline.mark("interpreter", began)
    setup.engine.timeline.mark("settings read")

    from .server import listen

    sockets = listen(options.http)

    import uvloop

    from .run import run
    from .stack import Stack

    uvloop.run(run(Stack(setup), sockets, options))
