"""Builds images, or prints what would be built: `make image`, `make images`, `make image-plan`.

Rows come from docker/matrix.json, the work is done by Docker's Bake.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
from docker_bake import bake_command

from engineroom.errors import EngineroomError
from engineroom.hardware import IMAGE_REPOSITORY, Image, ImageName, ImageNameError, Matrix

ROOT = Path(__file__).parent.parent
MATRIX = ROOT / "docker" / "matrix.json"
FILES = ("docker/docker-bake.hcl", "docker/matrix.json")


def bake(targets: Sequence[str], *options: str) -> list[str]:
    """The command line that builds `targets`, or with `--print` shows the plan; to be run in the repository."""
    return [*bake_command(), *(part for file in FILES for part in ("-f", file)), *options, *targets]


def variables(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for Bake: a token is announced, since naming a secret that is not set is an error, and what the
    images are called is complete."""
    return {**environ, IMAGE_REPOSITORY: repository(environ), "HAVE_HF_TOKEN": "1" if environ.get("HF_TOKEN") else ""}


def repository(environ: Mapping[str, str], owner: str = "") -> str:
    """What the images are called up to the tag.

    Args:
        owner: a registry and what is below it, put before a name that has neither.

    Raises:
        ImageNameError: the variable holds no repository.
    """
    name = ImageName.parse(environ.get(IMAGE_REPOSITORY) or Matrix.load(MATRIX).repository)
    if name.tag or name.digest:
        raise ImageNameError(
            f"{IMAGE_REPOSITORY}={name}: it ends before the tag, which IMAGE_TAG and the image's row make"
        )
    return str(name) if name.owned or not owner else str(ImageName.parse(f"{owner.lower()}/{name}"))


@click.group()
def main() -> None:
    """Which rows: ENGINE, CUDA and SM from the environment; MODEL_NAME bakes a model in."""


@main.command()
def plan() -> None:
    """Print as JSON what would be built."""
    rows = _selected()
    _run([row.target for row in rows], "--print", "--progress=quiet")


@main.command()
@click.option("--all", "every", is_flag=True, help="Every row that matches, not only the first.")
def build(every: bool) -> None:
    """Build the first matching row, or all of them."""
    rows = _selected()
    chosen = rows if every else rows[:1]
    click.echo(f"building {', '.join(row.name for row in chosen)}", err=True)
    if len(rows) > len(chosen):
        click.echo(f"(also there: {', '.join(row.name for row in rows[1:])}; CUDA=… or SM=… choose)", err=True)
    _run([row.target for row in chosen], "--load")


@main.command("repository")
@click.option("--owner", default="", help="Put before a repository that names neither registry nor owner.")
@click.option("--host", is_flag=True, help="Only its registry.")
def print_repository(owner: str, host: bool) -> None:
    """Print what the images are called up to the tag, for a workflow."""
    name = repository(os.environ, owner)
    click.echo(ImageName.parse(name).host if host else name)


@main.command()
def names() -> None:
    """Print the matching rows' names as a JSON list, for a workflow's matrix."""
    import json

    click.echo(json.dumps([{"name": row.name, "target": row.target} for row in _selected()]))


def _selected() -> tuple[Image, ...]:
    environ = os.environ
    return Matrix.load(MATRIX).select(*(environ.get(name, "") for name in ("ENGINE", "CUDA", "SM")))


def _run(targets: Sequence[str], *options: str) -> None:
    # Bake sees every row, the targets choose among them.
    environ = {**variables(os.environ), "ENGINE": "", "CUDA": "", "SM": ""}
    sys.stdout.flush()
    done = subprocess.run(bake(targets, *options), cwd=ROOT, env=environ, check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    try:
        main(standalone_mode=False)
    except EngineroomError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
