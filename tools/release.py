"""What a release is checked for before anything of it is published, and the words that it is announced with."""

from __future__ import annotations

import os
import re
import sys

import click
import images
import packages

from engineroom.errors import EngineroomError
from engineroom.hardware import IMAGE_REPOSITORY, Matrix


def section(changelog: str, version: str) -> str:
    """The changelog's words on a version, without their heading.

    Raises:
        EngineroomError: it has none, or no date for them.
    """
    match = re.search(rf"^## {re.escape(version)}(?P<date>[^\n]*)\n(?P<text>.*?)(?=^## |\Z)", changelog, re.M | re.S)
    if match is None:
        raise EngineroomError(f"CHANGELOG.md has nothing on {version}")
    if not re.search(r"\d{4}-\d\d-\d\d", match["date"]):
        raise EngineroomError(
            f"CHANGELOG.md has no date for {version}: write the day behind its heading, as YYYY-MM-DD"
        )
    return match["text"].strip() + "\n"


def problems(version: str, owner: str) -> list[str]:
    """What speaks against releasing this checkout as `version`."""
    texts = []
    if packages.version() != version:
        texts.append(
            f"the version is {packages.version()}: `make version VERSION={version}`, or tag {packages.version()}"
        )
    try:
        section((packages.ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), version)
    except EngineroomError as error:
        texts.append(str(error))
    pushed = images.repository(os.environ, owner)
    named = Matrix.load(images.MATRIX).repository
    if pushed != named:
        texts.append(
            f"images are pushed to {pushed}, but worker-config.json and the pages call them {named}: write {pushed} "
            f"into docker/matrix.json ({IMAGE_REPOSITORY}), then `make hub`"
        )
    return texts


@click.group()
def main() -> None:
    """What belongs to a release."""


@main.command()
@click.argument("version")
@click.option("--owner", default="", help="What stands before a repository that names neither registry nor owner.")
def check(version: str, owner: str) -> None:
    """Compare the version, the changelog and the names of the images with what would be published."""
    texts = problems(version, owner)
    for text in texts:
        click.echo(f"error: {text}", err=True)
    sys.exit(1 if texts else 0)


@main.command()
@click.argument("version")
def notes(version: str) -> None:
    """Print the changelog's words on VERSION."""
    click.echo(section((packages.ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), version), nl=False)


if __name__ == "__main__":
    try:
        main(standalone_mode=False)
    except EngineroomError as error:
        sys.exit(f"error: {error}")
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
