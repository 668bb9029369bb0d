"""A real image over a stand-in for an engine's own, built once for all tests, and what they share."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .buildah import Buildah, Container, why_not
from .standin_hub import REPOSITORY, StandinHub, standin_hub
from .wheels import make_wheel, wheelhouse

ROOT = Path(__file__).parents[2]
STANDIN = Path(__file__).with_name("standin")
ENGINE_STANDIN = ROOT / "engines/fastdeploy/tests/standin"
DEBIAN = "localhost/engineroom-standin-debian"
TARGET = "fastdeploy-2-4-0-cu126-sm86-89"
"""The row that has most to it: another wheel is installed over the base's own."""

CANARY = "hf_canary_0123456789"
"""The token of the build, which nothing may keep."""


@dataclass(frozen=True)
class Built:
    """The built image. log: all that the build printed. base: the image below it."""

    buildah: Buildah
    image: str
    base: str
    log: str
    hub: StandinHub

    def container(self) -> contextlib.AbstractContextManager[Container]:
        return self.buildah.container(self.image)


@pytest.fixture(scope="session")
def cache() -> Path:
    """Where what takes long to make outlives a test run: a Debian, and wheels."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "engineroom" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def plan() -> Mapping[str, Any]:
    """The committed plan; another test compares it with Bake's."""
    found: dict[str, Any] = json.loads((ROOT / "docker/plan.json").read_text())
    return found


@pytest.fixture(scope="session")
def built(cache: Path, plan: Mapping[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """The Dockerfile, built as the plan says but for the base, the index and the user, with a model baked in."""
    if reason := why_not():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("image")
    wheels, standin = wheelhouse(ROOT / "requirements/image.txt", cache), folder / "standin"
    buildah = Buildah(cache / "store")
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not buildah.has(DEBIAN):
            make_debian(buildah, folder)
    shutil.copytree(ROOT / "engines/fastdeploy/engineroom_fastdeploy/flags", standin / "flags")
    make_wheel(standin, "paddlepaddle-gpu", "3.3.0", {})
    make_wheel(standin, "fastdeploy-gpu", "2.4.0", standin_files("80 90"))
    own = make_wheel(standin / "index/fastdeploy-gpu", "fastdeploy-gpu", "2.4.0", standin_files("86 89"))
    (own.parent / "index.html").write_text(f'<a href="{own.name}">{own.name}</a>')
    pip_conf = folder / "pip.conf"
    pip_conf.write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    (folder / "HF_TOKEN").write_text(CANARY)
    mounts = ["--volume", f"{wheels}:/wheels:ro", "--volume", f"{standin}:/standin:ro"]
    name = f"localhost/engineroom-test-{uuid.uuid4().hex[:12]}"
    base, image = f"{name}:base", f"{name}:worker"
    with standin_hub(CANARY) as hub:
        arguments = {
            **plan["target"][TARGET]["args"],
            "BASE": base,
            "INDEX": "file:///standin/index",
            "RUN_AS": "10001",
            "MODEL_NAME": REPOSITORY,
            "HF_ENDPOINT": hub.url,
        }
        options = [part for key, value in arguments.items() for part in ("--build-arg", f"{key}={value}")]
        secrets = [f"--secret=id=pip_conf,src={pip_conf}", f"--secret=id=HF_TOKEN,src={folder / 'HF_TOKEN'}"]
        try:
            buildah("bud", "--quiet", "--format=docker", *mounts, "--tag", base, str(STANDIN))
            log = buildah(
                *("bud", "--format=docker", "--file=docker/Dockerfile", "--target=baked", "--tag", image),
                *(*mounts, *options, *secrets, "."),
                cwd=ROOT,
            )
            yield Built(buildah, image, base, log, hub)
        finally:
            for tag in (image, base):
                if buildah.has(tag):
                    buildah("rmi", "--force", tag)


def make_debian(buildah: Buildah, folder: Path) -> None:
    """Debian 12 with a pip, from the mirror that this machine uses."""
    targets = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Label: Debian"]
    told = subprocess.run(targets, capture_output=True, text=True, check=False, timeout=60).stdout.split()
    if not told:
        pytest.skip("apt knows no Debian mirror to make the stand-in base from")
    rootfs, context = folder / "rootfs", folder / "context"
    context.mkdir()
    command = ["debootstrap", "--variant=minbase", "--include=python3-pip", "bookworm", str(rootfs), told[0]]
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
