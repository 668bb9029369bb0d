"""The distributions as they are published: `make packages` builds and checks them, `make version VERSION=…` names one.

The version stands in one place, `common/engineroom/__init__.py`; what else states it is written from there. Links that
need an address (a README's to other files of the repository, the project's pages) are completed at build time, since
only whoever publishes knows where the repository is.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "common"
DISTRIBUTIONS = (
    CORE,
    ROOT / "workers",
    ROOT / "operations",
    *sorted(path.parent for path in ROOT.glob("engines/*/pyproject.toml")),
)

_VERSION = re.compile(r'^__version__ = "(.+)"$', re.MULTILINE)
_STATED = re.compile(r'(^version = "|"engineroom(?:\[[\w,-]+\])?==)[^"]+', re.MULTILINE)
"""Where a distribution's pyproject.toml states it: its own version, and the core's that it needs."""

MATRIX = ROOT / "docker" / "matrix.json"
_OWN_IMAGE = re.compile(r'("name": "(echo|upstream)-)[^-"]+(-cpu",\s+"engine": "\2",\s+"version": ")[^"]+')
"""A row of the images whose engine is no other program, and has our version."""


def version() -> str:
    """The version of all distributions."""
    return _VERSION.findall((CORE / "engineroom/__init__.py").read_text())[0]


def stamped(pyproject: str) -> str:
    """A pyproject.toml's text with the version in it."""
    return _STATED.sub(lambda stated: stated[1] + version(), pyproject)


def published(readme: str, source: str, folder: Path) -> str:
    """A README's text whose links lead to the repository at `source`, as of this version.

    Args:
        folder: where the README is.
    """

    def absolute(link: re.Match[str]) -> str:
        path = (folder / link[1]).resolve().relative_to(ROOT)
        return f"]({source}/blob/{version()}/{path}{link[2] or ''})"

    return re.sub(r"\]\((?!\w+:|#)([^)#]+)(#[^)]*)?\)", lambda link: absolute(link), readme)


def build(out: Path, source: str = "", wheels_only: bool = False) -> None:
    """Build every distribution into `out`: an sdist, and a wheel made from it.

    Args:
        source: the repository's address; without one the links stay as they are.
        wheels_only: leave out the sdists.
    """
    out.mkdir(parents=True, exist_ok=True)
    for distribution in DISTRIBUTIONS:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / distribution.name
            shutil.copytree(distribution, copy, ignore=shutil.ignore_patterns("__pycache__", "dist", "build"))
            shutil.copy(ROOT / "LICENSE", copy)
            if source:
                readme = copy / "README.md"
                readme.write_text(published(readme.read_text(), source, distribution))
                with (copy / "pyproject.toml").open("a") as pyproject:
                    pyproject.write(_urls(source))
            if wheels_only:
                _wheel(copy, out)
            else:
                command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(copy)]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        click.echo(f"built {distribution.relative_to(ROOT)}")


def _wheel(project: Path, out: Path) -> None:
    """A wheel by the build backend itself, which is all that a test needs."""
    hook = f"from flit_core.buildapi import build_wheel; build_wheel({str(out.resolve())!r})"
    subprocess.run([sys.executable, "-c", hook], cwd=project, check=True)


def _urls(source: str) -> str:
    changelog = f"{source}/blob/{version()}/CHANGELOG.md"
    return (
        f'\n[project.urls]\nSource = "{source}"\nDocumentation = "{source}/tree/{version()}/docs"\n'
        f'Issues = "{source}/issues"\nChangelog = "{changelog}"\n'
    )


@click.group()
def main() -> None:
    """Build the distributions, or give them a version."""


@main.command("build")
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "dist", help="Where they go.")
@click.option("--source", default="", help="The repository's address, for links in what is published.")
def build_command(out: Path, source: str) -> None:
    """Build every distribution, and check what an index would refuse."""
    shutil.rmtree(out, ignore_errors=True)
    build(out, source.rstrip("/"))
    files = sorted(str(path) for path in out.iterdir())
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *files], check=True)


@main.command("wheels")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--source", default="", help="The repository's address, for links in what is published.")
def wheels_command(out: Path, source: str) -> None:
    """Build the wheels alone into OUT, unchecked: for tests, which have no more than the build backend."""
    build(out, source, wheels_only=True)


@main.command("version")
@click.argument("new", required=False)
def version_command(new: str | None) -> None:
    """Print the version, or make NEW the one of all distributions."""
    if new:
        if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", new):
            raise click.BadParameter(f"{new} is no version such as 0.2.0 or 0.2.0rc1")
        init = CORE / "engineroom/__init__.py"
        init.write_text(_VERSION.sub(f'__version__ = "{new}"', init.read_text()))
        for distribution in DISTRIBUTIONS:
            path = distribution / "pyproject.toml"
            path.write_text(stamped(path.read_text()))
        MATRIX.write_text(_OWN_IMAGE.sub(rf"\g<1>{new}\g<3>{new}", MATRIX.read_text()))
    click.echo(version())


if __name__ == "__main__":
    main()
