"""Builds and pushes images, or prints what would be built: `make image`, `make images`, `make push`, `make image-plan`.

Rows come from docker/matrix.json. Bake plans the work; it or buildah does it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import build_context
import click
from docker_bake import bake_command
from image_builders import builder, digest_in_registry

from engineroom import __version__
from engineroom.errors import EngineroomError
from engineroom.hardware import IMAGE_REPOSITORY, Image, ImageName, ImageNameError, Matrix

ROOT = Path(__file__).parent.parent
MATRIX = ROOT / "docker" / "matrix.json"
FILES = ("docker/docker-bake.hcl", "docker/matrix.json")
IMAGE_TAG = "IMAGE_TAG"
TAGS = (IMAGE_TAG, "RELEASE_VERSION")
"""The variables of what tags begin with; worker-vllm has another name for it."""


def bake(targets: Sequence[str], *options: str) -> list[str]:
    """The command line that builds `targets`, or with `--print` shows the plan; to be run in the repository."""
    return [*bake_command(), *(part for file in FILES for part in ("-f", file)), *options, *targets]


def variables(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for Bake.

    What the images are called is complete in it: where they go to a registry, a tag that nobody chose says exactly what
    is inside, by our version with a digest of the sources and by the commit of a model.

    Raises:
        EngineroomError: a model's commit cannot be looked up.
    """
    # What is empty is not set; Bake would take it for a value.
    complete = {name: value for name, value in environ.items() if value or name not in (IMAGE_REPOSITORY, *TAGS)}
    name = repository(environ)
    if environ.get(IMAGE_REPOSITORY):
        complete |= {IMAGE_REPOSITORY: name, "DOCKERHUB_REPO": ""}
    if ImageName.parse(name).owned and not chosen_tag(environ):
        complete |= {IMAGE_TAG: f"{__version__}-{build_context.digest(ROOT)}", **pinned_model(environ)}
    return complete


def chosen_tag(environ: Mapping[str, str]) -> bool:
    """Whether somebody chose what the tags begin with. Such a tag may move: it does not say what is inside."""
    return any(environ.get(name) for name in TAGS)


def pinned_model(environ: Mapping[str, str]) -> dict[str, str]:
    """MODEL_NAME in its short form and MODEL_REVISION as a commit; nothing where no model is named.

    Raises:
        EngineroomError: the hub does not tell the commit.
    """
    from engineroom.models import reference

    if not environ.get("MODEL_NAME"):
        return {}
    model = reference.parse(environ["MODEL_NAME"], environ)
    revision = environ.get("MODEL_REVISION") or model.revision or ""
    if not re.fullmatch("[0-9a-f]{40}", revision):
        command = [sys.executable, "-m", "engineroom.models.fetch", model.repository or model.name, "--list"]
        command += ["--revision", revision] if revision else []
        token = environ.get("HF_TOKEN") or environ.get("HUGGINGFACE_ACCESS_TOKEN")
        env = {**environ, **({"HF_TOKEN": token} if token else {})}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
        answer = json.loads(done.stdout.splitlines()[-1])
        if "error" in answer:
            raise EngineroomError(
                f"an image for a registry is named by its model's commit, which is unknown: {answer['error']} "
                "(or give the commit itself: REVISION=…)"
            )
        revision = answer["commit"]
    return {"MODEL_NAME": model.name, "MODEL_REVISION": revision}


def repository(environ: Mapping[str, str], owner: str = "") -> str:
    """What the images are called up to the tag.

    Args:
        owner: a registry and what is below it, put before a name that has neither.

    Raises:
        ImageNameError: the variable holds no repository.
    """
    usual = Matrix.load(MATRIX).repository
    docker_hub = environ.get("DOCKERHUB_REPO")
    if docker_hub:
        usual = f"{docker_hub}/{environ.get('DOCKERHUB_IMG') or usual.rpartition('/')[2]}"
    name = ImageName.parse(environ.get(IMAGE_REPOSITORY) or usual)
    if name.tag or name.digest:
        raise ImageNameError(f"{IMAGE_REPOSITORY}={name}: it ends before the tag, which IMAGE_TAG and the row make")
    return str(name) if name.owned or not owner else str(ImageName.parse(f"{owner.lower()}/{name}"))


@click.group()
def main() -> None:
    """Which rows: ENGINE, CUDA and SM from the environment; MODEL_NAME bakes a model in."""


@main.command()
def plan() -> None:
    """Print as JSON what would be built."""
    click.echo(json.dumps(_planned(_selected(), _environ()), indent=2))


@main.command()
@click.option("--all", "every", is_flag=True, help="Every row that matches, not only the first.")
@click.option("--push", is_flag=True, help="Push what is built to its registry.")
@click.option("--again", is_flag=True, help="Build also what the registry has.")
def build(every: bool, push: bool, again: bool) -> None:
    """Build the first matching row, or all of them; what the registry has under a name of ours is not built again."""
    rows = _selected()
    chosen = rows if every else rows[:1]
    if len(rows) > len(chosen):
        _say(f"(also there: {', '.join(row.name for row in rows[1:])}; CUDA=… or SM=… choose)")
    name = ImageName.parse(repository(os.environ))
    if push and not name.owned:
        raise EngineroomError(
            f"{name} names no registry to push to: set {IMAGE_REPOSITORY}, such as ghcr.io/me/{name} or "
            f"docker.io/me/{name}, and log in with `docker login`"
        )
    environ = _environ()
    planned = _planned(chosen, environ)
    targets = [row.target for row in chosen]
    if name.owned and not chosen_tag(os.environ) and not again:
        targets = [target for target in targets if not _is_there(ImageName.parse(_tag(planned, target)), environ)]
    for target in targets:
        _say(f"building {_tag(planned, target)}")
    if targets:
        status = builder(ROOT, bake([])).build(planned, targets, push, environ)
        if status:
            hint = f" If the registry refused it: `docker login {name.host}`." if push else ""
            raise EngineroomError(f"the build ended with status {status}; its last lines say why.{hint}")
    for target in planned["target"]:
        tag = _tag(planned, target)
        click.echo(tag)
        if push:
            _say(f"(`engineroom deploy MODEL --image {tag}` runs it on RunPod)")


@main.command()
@click.option("--owner", default="", help="Put before a repository that names neither registry nor owner.")
def outputs(owner: str) -> None:
    """Print what a workflow needs, a `name=value` a line: the matching rows as JSON, the repository, its registry."""
    name = repository(os.environ, owner)
    click.echo(f"rows={json.dumps([{'name': row.name, 'target': row.target} for row in _selected()])}")
    click.echo(f"repository={name}")
    click.echo(f"registry={ImageName.parse(name).host}")


def _selected() -> tuple[Image, ...]:
    environ = os.environ
    return Matrix.load(MATRIX).select(*(environ.get(name, "") for name in ("ENGINE", "CUDA", "SM")))


def _environ() -> dict[str, str]:
    """The environment of the work: Bake sees every row, the targets choose among them."""
    return {**variables(os.environ), "ENGINE": "", "CUDA": "", "SM": ""}


def _planned(rows: Sequence[Image], environ: Mapping[str, str]) -> Any:
    command = bake([row.target for row in rows], "--print", "--progress=quiet")
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EngineroomError(f"Bake has no plan: {done.stderr.strip()}")
    return json.loads(done.stdout)


def _tag(planned: Any, target: str) -> str:
    tag: str = planned["target"][target]["tags"][0]
    return tag


def _is_there(name: ImageName, environ: Mapping[str, str]) -> bool:
    """Whether the registry has the image; where it does not tell, the image is built."""
    try:
        digest = digest_in_registry(name, environ)
    except EngineroomError as error:
        _say(f"(whether the registry has {name} could not be asked: {error})")
        return False
    if digest is not None:
        _say(f"{name} is in the registry ({digest}); it is not built again (AGAIN=1 does)")
    return digest is not None


def _say(text: str) -> None:
    click.echo(text, err=True)


if __name__ == "__main__":
    try:
        main(standalone_mode=False)
    except EngineroomError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
