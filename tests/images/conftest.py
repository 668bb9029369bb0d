"""A real image over a stand-in for an engine's own, built once for all tests, and what they share."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from standin_hub import REPOSITORY, StandinHub, standin_hub

from engineroom.hardware import Matrix

from .buildah import Buildah, why_not
from .wheels import make_wheel, requirements, wheelhouse

ROOT = Path(__file__).parents[2]
STANDIN = Path(__file__).with_name("standin")
ENGINE_STANDIN = ROOT / "engines/fastdeploy/tests/standin"
DEBIAN = "localhost/engineroom-standin-debian"
ROW = "fastdeploy-2-4-0-cu126-sm86-89"
"""The row that has most to it: another wheel is installed over the base's own."""

CANARY = "hf_canary_0123456789"
"""The token of the build, which nothing may keep."""


@dataclass(frozen=True)
class Workshop:
    """What builds need. names: the images made so far."""

    buildah: Buildah
    wheels: Path
    plan: Mapping[str, Any]
    folder: Path
    names: list[str] = field(default_factory=list)

    def name(self) -> str:
        """A name for one more image, which is removed at the end."""
        self.names.append(f"localhost/engineroom-test-{uuid.uuid4().hex[:12]}")
        return self.names[-1]

    def build(self, row: str, stage: str, *options: str, **arguments: str) -> tuple[str, str]:
        """Build a stage of the Dockerfile with a row's arguments from the plan; `arguments` come before them.

        Packages come from a folder of wheels, which a pip.conf names that is a secret of the build.

        Returns:
            The image's name, and all that the build printed.
        """
        pip_conf, image = self.folder / "pip.conf", self.name()
        pip_conf.write_text("[global]\nno-index = true\nfind-links = /wheels\n")
        given = {**self.plan["target"][row]["args"], **arguments}
        log = self.buildah(
            *("bud", "--format=docker", "--file=Dockerfile", f"--target={stage}", f"--tag={image}"),
            *("--volume", f"{self.wheels}:/wheels:ro", "--secret", f"id=pip_conf,src={pip_conf}", *options),
            *(f"--build-arg={name}={value}" for name, value in given.items()),
            ".",
            cwd=ROOT,
        )
        return image, log


@dataclass(frozen=True)
class Built:
    """The image over the stand-in. log: all that the build printed. base: the image below it."""

    buildah: Buildah
    image: str
    base: str
    log: str
    hub: StandinHub


@pytest.fixture(scope="session")
def cache() -> Path:
    """Where what takes long to make outlives a test run: a Debian, and wheels."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "engineroom" / "images"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        pytest.skip(f"images need a folder that outlives the tests: {error}")
    return folder


@pytest.fixture(scope="session")
def plan() -> Mapping[str, Any]:
    """The committed plan; another test compares it with Bake's."""
    targets: dict[str, Any] = json.loads((ROOT / "docker/plan.json").read_text())
    return targets


@pytest.fixture(scope="session")
def workshop(cache: Path, plan: Mapping[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    if reason := why_not():
        pytest.skip(reason)
    folder, buildah = tmp_path_factory.mktemp("images"), Buildah(cache / "store")
    added = [row.add for row in Matrix.load(ROOT / "docker/matrix.json").rows if "==" in row.add and not row.cuda]
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wheels = wheelhouse([*requirements((ROOT / "requirements/image.txt").read_text()), *added], cache)
        if not buildah.has(DEBIAN):
            make_debian(buildah, folder)
    if reason := buildah.why_not(DEBIAN):
        pytest.skip(reason)
    workshop = Workshop(buildah, wheels, plan, folder)
    try:
        yield workshop
    finally:
        for name in filter(buildah.has, reversed(workshop.names)):
            buildah("rmi", "--force", name)


@pytest.fixture(scope="session")
def built(workshop: Workshop) -> Iterator[Built]:
    """A row built as the plan says but for the base, the index and the user, with a model baked in."""
    standin, base = workshop.folder / "standin", workshop.name()
    shutil.copytree(ROOT / "engines/fastdeploy/engineroom_fastdeploy/flags", standin / "flags")
    make_wheel(standin, "paddlepaddle-gpu", "3.3.0", {})
    make_wheel(standin, "fastdeploy-gpu", "2.4.0", standin_files("80 90"))
    own = make_wheel(standin / "index/fastdeploy-gpu", "fastdeploy-gpu", "2.4.0", standin_files("86 89"))
    (own.parent / "index.html").write_text(f'<a href="{own.name}">{own.name}</a>')
    mount = ("--volume", f"{standin}:/standin:ro")
    workshop.buildah(
        *("bud", "--quiet", "--format=docker", *mount, "--volume", f"{workshop.wheels}:/wheels:ro"),
        *("--tag", base, str(STANDIN)),
    )
    token = workshop.folder / "HF_TOKEN"
    token.write_text(CANARY)
    with standin_hub(CANARY) as hub:
        image, log = workshop.build(
            *(ROW, "baked", *mount, "--secret", f"id=HF_TOKEN,src={token}"),
            BASE=base,
            INDEX="file:///standin/index",
            RUN_AS="10001",
            MODEL_NAME=REPOSITORY,
            HF_ENDPOINT=hub.url,
        )
        yield Built(workshop.buildah, image, base, log, hub)


def make_debian(buildah: Buildah, folder: Path) -> None:
    """Debian 12 with a pip, from the mirror that this machine uses."""
    targets = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Label: Debian"]
    mirrors = subprocess.run(targets, capture_output=True, text=True, check=False, timeout=60).stdout.split()
    if not mirrors:
        pytest.skip("apt knows no Debian mirror to make the stand-in base from")
    rootfs, context = folder / "rootfs", folder / "context"
    context.mkdir()
    command = ["debootstrap", "--variant=minbase", "--include=python3-pip", "bookworm", str(rootfs), mirrors[0]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    if done.returncode:
        pytest.skip(f"debootstrap could not make the stand-in base: {done.stdout[-300:]}")
    shutil.rmtree(rootfs / "var/cache/apt", ignore_errors=True)
    subprocess.run(["tar", "-C", str(rootfs), "-cf", str(context / "rootfs.tar"), "."], check=True, timeout=300)
    shutil.rmtree(rootfs)
    (context / "Dockerfile").write_text("FROM scratch\nADD rootfs.tar /\n")
    buildah("bud", "--quiet", "--tag", DEBIAN, str(context))


def standin_files(built_for: str) -> dict[str, bytes]:
    """The stand-in engine's modules, and a note of the GPUs that this wheel pretends to be for."""
    sources = {path.relative_to(ENGINE_STANDIN): path for path in ENGINE_STANDIN.rglob("*.py")}
    files = {str(name): path.read_bytes() for name, path in sources.items()}
    return {**files, "fastdeploy/built_for.txt": built_for.encode()}
