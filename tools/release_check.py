"""A release without releasing: `make release-check` does what the release's workflow would, as far as that goes here.

.github/workflows/release.yml itself is read, and each of its steps is done, or has a row that says why not: what goes
out of this machine (pushes, publishes, signs), and what only GitHub has. Images without a GPU are built by buildah;
where their base cannot be pulled, the tests build them over a stand-in. Then versions and names are compared with each
other. Exit code 1 where something is wrong, 3 where only what comes last before a tag is still to be done: the
changelog's date, the images' name.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import click
import packages
from image_builders import DockerBuilder, answers, builder, with_registry
from release_names import ReleaseNames
from rich.console import Console
from rich.table import Table
from rich.text import Text
from workflow_steps import UnknownValueError, WorkflowStep, filled_in, steps

from engineroom.errors import EngineroomError
from engineroom.hardware import IMAGE_REPOSITORY, Image, Matrix

ROOT = packages.ROOT
WORKFLOWS = ROOT / ".github/workflows"

Outcome: TypeAlias = Literal["ok", "FAILED", "TO DO", "NOT CHECKED"]
STYLES = {"ok": "green", "FAILED": "bold red", "TO DO": "yellow", "NOT CHECKED": "dim"}

OUTWARD = ("docker push", "uv publish", "gh release", "cosign sign", "sudo ")
"""Commands that reach others, or change the machine; a script that has one is not run."""

MACHINERY = ("actions/checkout", "actions/setup-python", "docker/setup-buildx-action", "docker/login-action")
"""Actions that prepare GitHub's machine. This one is prepared: there is nothing to check, and no row."""

ON_GITHUB = {
    "actions/attest-build-provenance": "signs as the workflow, which only GitHub can",
    "aquasecurity/trivy-action": "Trivy scans images; it is in no package index",
    "github/codeql-action/upload-sarif": "there is nothing to upload without a scan",
    "anchore/sbom-action": "it lists whole images, on GitHub; `make sbom` lists the worker's part of them",
    "sigstore/cosign-installer": "nothing is signed",
}
"""Actions that are not done here, and why."""

WRITTEN = ("notes", "sbom")
"""Folders that the workflow writes; what an earlier run left there does not count."""

BUILD_SECONDS = 1800
SMALL = "tests/images/test_build_small.py"
STANDIN_TESTS = {
    "llamacpp": "tests/images/test_build_llamacpp.py",
    "echo": f"{SMALL}::test_a_worker_without_a_model_opens_its_door[echo-200]",
    "upstream": f"{SMALL}::test_a_worker_without_a_model_opens_its_door[upstream-204]",
}
"""Engines whose image for CPUs a test builds over a stand-in for its base, and lets answer."""


class CheckedStep(NamedTuple):
    """One line of the table at the end."""

    part: str
    what: str
    outcome: Outcome
    remark: str = ""


class ReleaseCheck:
    """Does a release's steps one after the other.

    Args:
        version: the tag that it would have.
        folder: for what the steps write.
        with_images: build the images that can be built.
        say: is called with what begins, and of what a step writes where it fails.
    """

    def __init__(self, version: str, folder: Path, with_images: bool, say: Callable[[str], None]) -> None:
        self._version = version
        self._folder = folder
        self._with_images = with_images
        self._say = say
        self._uploaded: dict[str, str] = {}
        self._to_do: set[str] = set()
        self._values = _values(version)
        self._environ = self._prepared()

    def rows(self) -> Iterator[CheckedStep]:
        """Every row, as its work is done."""
        yield from self._workflow(WORKFLOWS / "release.yml")
        names = ReleaseNames(ROOT, self._version)
        for what, check in names.checks.items():
            yield _compared(what, check())
        yield self._stale()
        if (ROOT / "dist").is_dir():
            yield _compared("names and versions in what was built", names.built(ROOT / "dist"))
        for path in sorted((self._folder / "sbom").glob("*.json")):
            yield _compared("what the SBOM lists is what images install", names.listed(path))
        outputs = {
            name.rpartition(".")[2]: text for name, text in self._values.items() if name.startswith("needs.rows.")
        }
        if outputs:
            yield _compared("rows and tag of the workflow", names.pushed(outputs, self._version))

    def _workflow(self, path: Path) -> Iterator[CheckedStep]:
        for step in steps(path):
            called = WORKFLOWS / Path(step.action).name
            if step.action == "./.github/workflows/images.yml":
                yield from self._workflow(called)
            elif step.action.startswith("./"):
                yield CheckedStep(step.job, called.name, "NOT CHECKED", "the whole test suite: bash .ci/run")
            else:
                yield from self._step(step)

    def _step(self, step: WorkflowStep) -> Iterable[CheckedStep]:
        if step.script:
            return [self._run(step)]
        if step.action in MACHINERY:
            return []
        if step.action == "docker/bake-action":
            return self._images(step)
        artefact = f" ({step.inputs['name']})" if "name" in step.inputs else ""
        return [CheckedStep(step.job, f"{step.title}{artefact}", *self._action(step))]

    def _action(self, step: WorkflowStep) -> tuple[Outcome, str]:
        name, path = step.inputs.get("name", ""), step.inputs.get("path", "")
        if step.action == "actions/upload-artifact":
            self._uploaded[name] = path
            there = [file for file in (self._folder / path).rglob("*") if file.is_file()]
            if there:
                return "ok", f"{path} has {len(there)} files"
            if step.job in self._to_do:
                return "TO DO", f"{path} is written behind what is to be done above"
            return "FAILED", f"there is nothing in {path}"
        if step.action == "actions/download-artifact":
            there_is = name in self._uploaded
            return ("ok", f"from {self._uploaded[name]}") if there_is else ("FAILED", f"no job before uploads {name}")
        reason = ON_GITHUB.get(step.action)
        return ("NOT CHECKED", reason) if reason else ("FAILED", f"what becomes of {step.action} here? (ON_GITHUB)")

    def _run(self, step: WorkflowStep) -> CheckedStep:
        outward = next((command for command in OUTWARD if command in step.script), None)
        if outward is not None:
            return CheckedStep(step.job, step.title, "NOT CHECKED", f"`{outward.strip()}` is for the workflow alone")
        try:
            environ = {name: filled_in(text, self._values) for name, text in step.environ.items()}
            script = filled_in(step.script, self._values)
        except UnknownValueError as error:
            return CheckedStep(step.job, step.title, "FAILED", f"the step uses {error}, which this check does not know")
        self._say(f"{step.job}: {step.title}")
        output = self._folder / "github_output"
        output.write_text("")
        began = time.monotonic()
        try:
            done = subprocess.run(
                ["bash", "-e", "-o", "pipefail", "-c", script],
                cwd=self._folder,
                env={**self._environ, **environ, "GITHUB_OUTPUT": str(output)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=step.seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return CheckedStep(step.job, step.title, "FAILED", f"not done in the {step.seconds} s that the job has")
        for line in output.read_text().splitlines():
            name, _, value = line.partition("=")
            self._values[f"steps.{step.id}.outputs.{name}"] = value
            self._values[f"needs.{step.job}.outputs.{name}"] = value
        if done.returncode == 0:
            return CheckedStep(step.job, step.title, "ok", f"{time.monotonic() - began:.0f} s")
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        problems = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        if problems and all(_comes_last(line) for line in problems):
            self._to_do.add(step.job)
            return CheckedStep(step.job, step.title, "TO DO", "\n".join(problems))
        self._say("\n".join(lines[-20:]))
        return CheckedStep(
            step.job, step.title, "FAILED", "\n".join(problems or lines[-1:] or [f"exit status {done.returncode}"])
        )

    def _images(self, step: WorkflowStep) -> Iterator[CheckedStep]:
        rows = Matrix.load(packages.MATRIX).rows
        for image in rows:
            title = f"{step.title}: {image.name}"
            if image.sm:
                continue
            if not self._with_images:
                yield CheckedStep(step.job, title, "NOT CHECKED", "left out (--without-images)")
            else:
                self._say(f"{step.job}: {title}")
                yield CheckedStep(step.job, title, *self._image(image))
        for_gpus = [image.name for image in rows if image.sm]
        remark = f"{len(for_gpus)} bases of many GB, which only the workflow pulls: {', '.join(for_gpus)}"
        yield CheckedStep(step.job, f"{step.title}: images for GPUs", "NOT CHECKED", remark)

    def _image(self, image: Image) -> tuple[Outcome, str]:
        try:
            with_docker = isinstance(builder(ROOT, []), DockerBuilder)
        except EngineroomError as error:
            return "NOT CHECKED", str(error)
        unreachable = _why_no_base(image, with_docker)
        if unreachable is None:
            environ = {**self._environ, "ENGINE": image.engine, "IMAGE_TAG": self._version}
            return self._built([sys.executable, "tools/images.py", "build", "--again"], environ, f"over {image.base}")
        test = STANDIN_TESTS.get(image.engine)
        if test is None:
            return "NOT CHECKED", unreachable
        command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", test]
        environ = {**self._environ, "BUILD_SMALL_IMAGES": "1"}
        return self._built(command, environ, f"over Debian in place of its base, by {test}; {unreachable}")

    def _built(self, command: list[str], environ: Mapping[str, str], how: str) -> tuple[Outcome, str]:
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return "FAILED", f"not built in {BUILD_SECONDS} s"
        lines = (done.stdout + done.stderr).strip().splitlines()
        if done.returncode:
            self._say("\n".join(lines[-20:]))
            return "FAILED", lines[-1] if lines else f"exit status {done.returncode}"
        if any(" skipped" in line and " passed" not in line for line in lines[-1:]):
            return "NOT CHECKED", next((line for line in lines if line.startswith("SKIPPED")), lines[-1])
        return "ok", how

    def _stale(self) -> CheckedStep:
        done = subprocess.run(
            [sys.executable, "tools/generate.py", "--check"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        what = "files made from settings and the matrix (`make hub`)"
        if done.returncode:
            return CheckedStep("names", what, "FAILED", (done.stdout or done.stderr).strip())
        left = done.stderr.strip()
        return CheckedStep("names", what, "NOT CHECKED" if left else "ok", left)

    def _prepared(self) -> dict[str, str]:
        """The environment of the steps, which see this checkout in a folder that what they write is not left in."""
        (ROOT / "dist").mkdir(exist_ok=True)
        for entry in ROOT.iterdir():
            if entry.name in WRITTEN:
                continue
            (self._folder / entry.name).symlink_to(entry)
        programs = self._folder / "programs"
        programs.mkdir()
        # What a job installs is here already, as `make` installed it.
        (programs / "pip").write_text("#!/bin/sh\nexit 0\n")
        (programs / "pip").chmod(0o755)
        path = f"{programs}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        github = {"GITHUB_REF_NAME": self._version, "GITHUB_REF_TYPE": "tag"}
        return {**os.environ, **github, "PATH": path}


def _values(version: str) -> dict[str, str]:
    """What GitHub would put into the workflows."""
    source = Matrix.load(packages.MATRIX).source or _origin() or "https://github.com/owner/engineroom"
    server, _, repository = source.rpartition("github.com/")
    return {
        "github.actor": "",
        "github.ref_name": version,
        "github.ref_type": "tag",
        "github.repository": repository,
        "github.repository_owner": repository.partition("/")[0],
        "github.server_url": f"{server}github.com",
        "github.sha": _git("rev-parse", "HEAD"),
        "github.token": "",
        "inputs.engine": "",
        "secrets.REGISTRY_TOKEN": "",
        f"vars.{IMAGE_REPOSITORY}": os.environ.get(IMAGE_REPOSITORY, ""),
        "vars.REGISTRY_USERNAME": "",
    }


def _origin() -> str:
    """The address on GitHub that this checkout came from; empty where it came from elsewhere."""
    url = _git("remote", "get-url", "origin").removesuffix(".git").replace("git@github.com:", "https://github.com/")
    return url if url.startswith("https://github.com/") else ""


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.strip()


def _comes_last(problem: str) -> bool:
    """Whether a problem is one that every version has until the day of its release."""
    return "has no date for" in problem or "images are pushed to" in problem


def _compared(what: str, wrong: Iterable[str]) -> CheckedStep:
    texts = list(wrong)
    return CheckedStep("names", what, "FAILED" if texts else "ok", "\n".join(texts))


def _why_no_base(image: Image, with_docker: bool) -> str | None:
    """Why an image's base cannot be had here; None where it can."""
    if with_docker and answers("docker", "image", "inspect", image.base):
        return None
    command = ["docker" if with_docker else "buildah", "pull", with_registry(image.base)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        return f"{image.base} cannot be pulled here: no answer"
    if done.returncode == 0:
        return None
    reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    return f"{image.base} cannot be pulled here: {reason.rpartition(': ')[2]}"


def show(rows: list[CheckedStep], version: str) -> None:
    """Print the table."""
    table = Table(title=f"A release as {version}", title_justify="left", show_lines=False)
    for heading in ("job", "step", "result", "remark"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(row.part, Text(row.what), Text(row.outcome, style=STYLES[row.outcome]), Text(row.remark))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


@click.command()
@click.argument("version", required=False)
@click.option("--without-images", is_flag=True, help="Build no images, which takes longest.")
def main(version: str | None, without_images: bool) -> None:
    """Try a release as VERSION, by default the version that the sources state."""
    version = version or packages.version()
    say = Console(stderr=True, highlight=False)
    with tempfile.TemporaryDirectory(prefix="release-check-") as folder:
        check = ReleaseCheck(
            version, Path(folder), not without_images, lambda text: say.print(text, style="dim", markup=False)
        )
        rows = []
        for row in check.rows():
            rows.append(row)
            say.print(f"  {row.outcome:11} {row.part}: {row.what}", style=STYLES[row.outcome], markup=False)
    show(rows, version)
    outcomes = {row.outcome for row in rows}
    sys.exit(1 if "FAILED" in outcomes else 3 if "TO DO" in outcomes else 0)


if __name__ == "__main__":
    main()
