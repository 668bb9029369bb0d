"""`engineroom deploy`: a pod or an endpoint on RunPod from settings and a short file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("model", required=False)
@click.option(
    "-f",
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The deployment file. Default: engineroom.yaml or llm_config.json here, if there is one.",
)
@click.option("--name", help="What to call it; a deployment of this name is changed. Default: from the model's name.")
@click.option(
    "--kind",
    type=click.Choice(["pod", "queue", "load-balancer", "auto"]),
    help="What to make of it. Default: queue, an endpoint that starts workers when there is something to do.",
)
@click.option("--engine", help="The engine. Default: ENGINE, else the first that loads the model and has an image.")
@click.option("--image", help="A whole image name, in the place of one of ours.")
@click.option("--gpu", multiple=True, metavar="NAME", help="A GPU's name, id or pool. Default: the cheapest that fits.")
@click.option("--gpu-count", type=click.IntRange(1), help="GPUs for one worker.")
@click.option("--cpu", metavar="FLAVOUR", help="A flavour of RunPod's CPUs instead of a GPU: `cpu3c`.")
@click.option("--env", "variables", multiple=True, metavar="NAME=VALUE", help="A variable of the worker.")
@click.option(
    "--traffic", metavar="HOURS|FILE", help="For --kind auto: requests an hour (`9-17:300,17-9:5`) or a file."
)
@click.option("--dry-run", is_flag=True, help="Only show the plan, and what it costs.")
@click.option("--yes", is_flag=True, help="Do not ask before something is changed.")
@click.option("--replace", is_flag=True, help="Delete and create anew what RunPod cannot change.")
@click.option("--wait", is_flag=True, help="Wait for the first answer, and show what it waits for.")
@click.option(
    "--wait-limit", type=click.FloatRange(1), default=1800, show_default=True, metavar="SECONDS", help="For --wait."
)
def deploy(
    model: str | None,
    file: Path | None,
    gpu: tuple[str, ...],
    cpu: str | None,
    variables: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    replace: bool,
    wait: bool,
    wait_limit: float,
    **fields: Any,
) -> None:
    """Put a model on RunPod, as a pod or an endpoint.

    Takes the settings in force (`engineroom config`) and a deployment file, shows what it would change and what that
    costs, and asks. The same command again changes nothing; after a failure it goes on.

    \b
        engineroom deploy Qwen/Qwen3-8B --dry-run
        engineroom deploy Qwen/Qwen3-8B --wait
        engineroom deploy -f engineroom.yaml --yes

    Needs RUNPOD_API_KEY. `engineroom deployments` shows what there is. docs/deployments.md describes the file.
    """
    import asyncio

    from .run import DeployRun

    overrides = {
        **fields,
        "model": model,
        "gpu": gpu or None,
        "cpu": {"id": cpu} if cpu else None,
    }
    run = DeployRun(file, overrides, _assignments(variables), replace=replace, confirm=_confirmation(yes))
    sys.exit(asyncio.run(run.run(dry_run=dry_run, wait_limit=wait_limit if wait else None)))


def _assignments(variables: tuple[str, ...]) -> dict[str, str]:
    values: dict[str, str] = {}
    for each in variables:
        name, equals, value = each.partition("=")
        if not equals or not name.isidentifier():
            raise click.UsageError(f"--env {name or each!r}: write NAME=VALUE")
        values[name] = value
    return values


def _confirmation(yes: bool) -> Callable[[], bool]:
    def confirm() -> bool:
        if yes:
            return True
        if not sys.stdin.isatty():
            raise click.UsageError("nothing was changed: there is nobody to ask here, so say --yes")
        return click.confirm("Go on?", default=False)

    return confirm
