"""`engineroom deployments`: list, status, logs, scale, stop, start, delete."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from ..runpod_api.client import RunPodClient

T = TypeVar("T")
_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(invoke_without_command=True, context_settings=_HELP)
@click.pass_context
def deployments(context: click.Context) -> None:
    """Show what is on RunPod, and look after it.

    Without a command it lists every pod and endpoint of the account. Needs RUNPOD_API_KEY.
    """
    if context.invoked_subcommand is None:
        context.invoke(list_all)


@deployments.command("list")
def list_all() -> None:
    """List every pod and endpoint."""

    async def run(api: RunPodClient) -> None:
        from engineroom.commands.screen import console

        from .deployment import WorkerPrices, all_deployments
        from .showing import deployment_list

        everything = await all_deployments(api)
        console().print(deployment_list(everything, await WorkerPrices.of_now(api)))

    _with_api(run)


@deployments.command()
@click.argument("name")
def status(name: str) -> None:
    """Show one deployment with its workers, and why one is unhealthy."""

    async def run(api: RunPodClient) -> None:
        from engineroom.commands.screen import console

        from .deployment import WorkerPrices, find_deployment
        from .reasons import reasons
        from .showing import deployment_status

        deployment = await find_deployment(api, name)
        prices = await WorkerPrices.of_now(api)
        console().print(deployment_status(deployment, prices, await reasons(api, deployment)))

    _with_api(run)


@deployments.command()
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on with each line as it comes, until Ctrl-C.")
@click.option("--worker", default="", help="Only this worker of an endpoint. Default: all of them.")
@click.option("--tail", type=click.IntRange(1, 5000), default=100, show_default=True, help="Lines to begin with.")
def logs(name: str, follow: bool, worker: str, tail: int) -> None:
    """Print the log of a pod, or of an endpoint's workers."""

    async def run(api: RunPodClient) -> None:
        from .deployment import find_deployment
        from .log_reading import LogFollower, last_lines

        deployment = await find_deployment(api, name)
        single = deployment.kind == "pod" or bool(worker) or len(deployment.workers) == 1
        ids = [worker] if worker else [each.id for each in deployment.workers]

        def show(who: str, line: str) -> None:
            click.echo(line if single and not follow else f"{who}  {line}")

        if follow:
            await LogFollower(api, deployment, worker, tail, lambda who, event: show(who, event.line)).follow()
            return
        if deployment.kind == "pod":
            ids = [deployment.id]
        if not ids:
            click.echo(f"{deployment.name} has no worker now, and so no log", err=True)
        for who in ids:
            for event in await last_lines(api, deployment, who, tail):
                show(who, event.line)

    _with_api(run)


@deployments.command()
@click.argument("name")
@click.option("--min", "lowest", type=click.IntRange(0), help="Workers that are always there, and always paid.")
@click.option("--max", "highest", type=click.IntRange(0), help="The most workers.")
@click.option("--idle-timeout", type=click.IntRange(1, 3600), help="Idle seconds after which a worker ends.")
def scale(name: str, lowest: int | None, highest: int | None, idle_timeout: int | None) -> None:
    """Change how many workers an endpoint may have."""
    if lowest is None and highest is None and idle_timeout is None:
        raise click.UsageError("give --min, --max or --idle-timeout")

    async def run(api: RunPodClient) -> None:
        from msgspec import UNSET

        from ..runpod_api.bodies import WorkerCounts
        from . import operations
        from .deployment import find_deployment

        counts = WorkerCounts(
            min=UNSET if lowest is None else lowest,
            max=UNSET if highest is None else highest,
            idle_timeout=UNSET if idle_timeout is None else idle_timeout,
        )
        click.echo(await operations.scale(api, await find_deployment(api, name), counts))

    _with_api(run)


@deployments.command()
@click.argument("name")
def stop(name: str) -> None:
    """End what costs by the hour, and keep the deployment."""

    async def run(api: RunPodClient) -> None:
        from . import operations
        from .deployment import find_deployment

        click.echo(await operations.stop(api, await find_deployment(api, name)))

    _with_api(run)


@deployments.command()
@click.argument("name")
@click.option("--min", "lowest", type=click.IntRange(0), default=0, show_default=True, help="For an endpoint.")
@click.option("--max", "highest", type=click.IntRange(1), default=3, show_default=True, help="For an endpoint.")
def start(name: str, lowest: int, highest: int) -> None:
    """Start what was stopped."""

    async def run(api: RunPodClient) -> None:
        from . import operations
        from .deployment import find_deployment

        click.echo(await operations.start(api, await find_deployment(api, name), lowest, highest))

    _with_api(run)


@deployments.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(name: str, yes: bool) -> None:
    """Delete a deployment and its template. A network volume stays."""

    async def run(api: RunPodClient) -> None:
        from . import operations
        from .deployment import find_deployment

        deployment = await find_deployment(api, name)
        what = f"the {deployment.kind} {deployment.name} ({deployment.id})"
        if not yes and not sys.stdin.isatty():
            raise click.UsageError(f"{what} was not deleted: there is nobody to ask here, so say --yes")
        if not yes and not click.confirm(f"Delete {what} for good?", default=False):
            click.echo("Nothing was deleted.")
            sys.exit(1)
        for line in await operations.delete(api, deployment):
            click.echo(line)

    _with_api(run)


def _with_api(run: Callable[[RunPodClient], Awaitable[T]]) -> T:
    import asyncio

    from engineroom.runpod_account import RunPodAccount
    from engineroom.settings import Environment

    from ..runpod_api.client import RunPodClient

    async def connected() -> T:
        async with RunPodClient(RunPodAccount.load(Environment.load())) as api:
            return await run(api)

    return asyncio.run(connected())
