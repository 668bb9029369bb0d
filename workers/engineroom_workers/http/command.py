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
    from engineroom.settings import Environment, Layer
    from engineroom.timeline import process_age

    from ..extras import need
    from .options import Options

    began = process_age()
    need("http", "uvicorn", "starlette", "httptools", "uvloop")
    env = Environment.load()
    named = {name.upper(): str(value) for name, value in given.items() if value is not None}
    env = Environment([Layer("command line", named, owned=True), *env.layers])
    engine = plugins.open_engine(env)
    _, adapted = plugins.engine_class(env)
    options = Options.load(adapted)
    logs.configure(options.worker)
    engine.timeline.mark("interpreter", began)
    engine.timeline.mark("settings read")

    from .server import listen

    sockets = listen(options.http)

    import uvloop

    from .run import run
    from .stack import Stack

    stack = Stack(engine, lambda: plugins.open_engine(env), options, env)
    uvloop.run(run(stack, sockets, options))
