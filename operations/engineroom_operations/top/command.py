"""`engineroom top`."""

from __future__ import annotations

import sys

import click


@click.command()
@click.argument("targets", nargs=-1, metavar="[URL]...")
@click.option(
    "--interval",
    "interval_s",
    type=click.FloatRange(0.2, 3600),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between two looks.",
)
@click.option("--once", is_flag=True, help="Look twice, print the figures, and end; 1 if a target is not up.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each target and look.")
@click.option("--api-key", default="", metavar="KEY", help="The targets' key, where its usual variable has another.")
@click.option("--wake", is_flag=True, help="Ask workers of load-balancing endpoints, which keeps them running.")
def top(targets: tuple[str, ...], interval_s: float, once: bool, as_json: bool, api_key: str, wake: bool) -> None:
    """Watch servers and endpoints, live.

    Requests that run and wait, tokens per second, percentiles of TTFT and of the time between tokens, caches, errors,
    GPUs; of RunPod's endpoints jobs and workers. Several URLs stand side by side. A target that goes away is shown so,
    and watched until it returns.

    A URL is a server's, with or without `/v1`, `host:port`, or that of an endpoint or a pod of RunPod. Without one it
    is the server on this machine (HOST, PORT). Where there is no terminal, each look is a line for each target.

    \b
        engineroom top
        engineroom top gpu1:8000 gpu2:8000
        engineroom top https://api.runpod.ai/v2/ENDPOINT_ID
        engineroom top --once --json http://127.0.0.1:8000

    Keys: RUNPOD_API_KEY for RunPod's endpoints, the first of API_KEYS for this machine, else OPENAI_API_KEY.
    """
    import asyncio

    from engineroom.settings import Environment

    from ..targets.local import local_server
    from ..targets.resolve import resolve
    from ..targets.target import RemoteTarget
    from .run import TopRun, run

    env = Environment.load()

    async def watch() -> int:
        places = [await resolve(text, env, api_key) for text in targets] or [local_server(env, api_key)]
        for place in places:
            if not isinstance(place, RemoteTarget):
                raise click.UsageError(
                    f"{place.name} is no URL, host:port or endpoint; to serve a model: `engineroom serve {place.name}`"
                )
        servers = [place for place in places if isinstance(place, RemoteTarget)]
        return await run(TopRun(servers, interval_s, once, as_json, wake), env)

    sys.exit(asyncio.run(watch()))
