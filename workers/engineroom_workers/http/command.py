"""`engineroom serve`."""

from __future__ import annotations

import click


@click.command()
@click.option("--engine", help="The engine to run (or set ENGINE).")
@click.option("--model", "model_name", help="The model: a hub repository, a local folder or file (or set MODEL_NAME).")
@click.option("--host", help="The address to listen on (or set HOST).  [default: 127.0.0.1]")
@click.option("--port", type=int, help="The port to listen on (or set PORT).  [default: 8000]")
def serve(**given: str | int | None) -> None:
    """Serve a model over HTTP, for any OpenAI client.

    The port is open at once: /ping answers 204 while the model loads, 200 when it is ready, and 503 if the engine
    has died; /health gives the reason. On SIGTERM or Ctrl-C running requests have DRAIN_TIMEOUT seconds to finish.

    All other settings are environment variables; `engineroom config --all` lists them.
    """
    from engineroom import logs, plugins
    from engineroom.settings import Environment
    from engineroom.timeline import process_age

    from ..extras import need
    from .options import Options

    began = process_age()
    need("http", "uvicorn", "starlette", "httptools", "uvloop")
    arguments = {name.upper(): str(value) for name, value in given.items() if value is not None}
    setup = plugins.set_up(Environment.load().with_arguments(arguments), Options.load)
    options = setup.door
    logs.configure(options.worker)
    setup.engine.timeline.mark("interpreter", began)
    setup.engine.timeline.mark("settings read")

    from .server import listen

    sockets = listen(options.http)

    import uvloop

    from .run import run
    from .stack import Stack

    uvloop.run(run(Stack(setup), sockets, options))
