"""`make image` and `make push` with a real registry and buildah: names, what is built again, and where secrets are not.

The Dockerfile is a stand-in that builds in an instant; other tests build the real one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from docker_bake import bake_command
from image_builders import bud_arguments
from programs import need
from real_engine import script
from registry_server import running_registry
from standin_hub import COMMIT, REPOSITORY, standin_hub

from engineroom.hardware import ImageName

from .conftest import CANARY, ROOT
from .test_plan import needs_bake

STANDIN_DOCKERFILE = """\
FROM scratch AS worker
ARG IMAGE
COPY common /common
LABEL row=$IMAGE
FROM worker AS baked
ARG MODEL_NAME
ARG MODEL_REVISION
LABEL model=$MODEL_NAME@$MODEL_REVISION
"""
ROW = "llamacpp-2026.10.11549-cpu"
NAME = rf"0\.\d+\.\d+\w*-[0-9a-f]{{12}}-{re.escape(ROW)}"
"""The tag of a general image: our version with the sources' digest, and the row."""

pytestmark = [needs_bake]


def docker_config(folder: Path) -> Path:
    """A folder of settings as Docker has them: no log-ins, and the plugins of whoever runs the tests, Bake perhaps."""
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    own = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    if (own / "cli-plugins").is_dir():
        (folder / "cli-plugins").symlink_to(own / "cli-plugins")
    return folder


class Checkout:
    """A copy of what builds images, whose tools run in an environment of their own."""

    def __init__(self, root: Path, **environ: str) -> None:
        self.root = root
        shutil.copytree(ROOT / "docker", root / "docker", ignore=shutil.ignore_patterns("compose"))
        shutil.copytree(ROOT / "tools", root / "tools", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / ".dockerignore", root)
        (root / "Dockerfile").write_text(STANDIN_DOCKERFILE)
        (root / "common/tests").mkdir(parents=True)
        (root / "common/file").write_text("one")
        storage = root / "storage.conf"
        storage.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{root}/store"\nrunroot = "{root}/run"\n')
        self._environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(root),
            "DOCKER_CONFIG": str(docker_config(root / "docker-config")),
            "CONTAINERS_STORAGE_CONF": str(storage),
            "BUILDAH_ISOLATION": "chroot",
            "ENGINE": "llamacpp",
            **environ,
        }

    def images(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run tools/images.py."""
        return subprocess.run(
            [sys.executable, str(self.root / "tools/images.py"), *arguments],
            env={**self._environ, **environ},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`localhost:port` of a real registry."""
    need("buildah", "--version")
    if os.getuid() != 0:
        pytest.skip("building images here needs root")
    with running_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


def pushed(registry: str, repository: str) -> list[str]:
    """The tags that a registry has."""
    answer = httpx.get(f"http://{registry}/v2/{repository}/tags/list").json()
    return sorted(answer.get("tags") or [])


def labels(registry: str, repository: str, tag: str) -> Mapping[str, str]:
    """An image's labels, which the registry's copy has."""
    kind = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    manifest = httpx.get(f"http://{registry}/v2/{repository}/manifests/{tag}", headers=kind).json()
    config: Any = httpx.get(f"http://{registry}/v2/{repository}/blobs/{manifest['config']['digest']}").json()
    kept: Mapping[str, str] = config["config"]["Labels"]
    return kept


def test_what_the_registry_has_is_not_built_again(registry: str, tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, IMAGE_REPOSITORY=f"{registry}/me/rooms")
    first = checkout.images("build", "--push")
    assert first.returncode == 0, first.stderr
    (tag,) = pushed(registry, "me/rooms")
    assert re.fullmatch(NAME, tag)
    assert first.stdout == f"{registry}/me/rooms:{tag}\n"
    assert f"building {registry}/me/rooms:{tag}\n" in first.stderr
    assert labels(registry, "me/rooms", tag)["row"] == ROW

    (tmp_path / "common/tests/file").write_text("tests are in no image")
    second = checkout.images("build", "--push")
    assert second.returncode == 0, second.stderr
    assert second.stdout == first.stdout
    assert re.search(rf"rooms:{tag} is in the registry \(sha256:[0-9a-f]{{64}}\); it is not built again", second.stderr)
    assert "building" not in second.stderr

    assert "building" in checkout.images("build", "--again").stderr
    assert "building" in checkout.images("build", "--push", IMAGE_TAG="mine").stderr, "a name of one's own may move"

    (tmp_path / "common/file").write_text("two")
    assert checkout.images("build", "--push").returncode == 0
    assert len(pushed(registry, "me/rooms")) == 3, "other sources are another image"


def test_a_baked_image_is_named_by_its_model_s_commit(registry: str, tmp_path: Path) -> None:
    model = f"https://huggingface.co/{REPOSITORY}"
    with standin_hub(CANARY) as hub:
        checkout = Checkout(
            tmp_path, IMAGE_REPOSITORY=f"{registry}/me/baked", HF_ENDPOINT=hub.url, HF_TOKEN=CANARY, MODEL_NAME=model
        )
        done = checkout.images("build", "--push", MODEL_REVISION="main")
        unknown = checkout.images("build", "--push", MODEL_REVISION="no-such-branch")
    assert done.returncode == 0, done.stderr
    (tag,) = pushed(registry, "me/baked")
    assert re.fullmatch(rf"{NAME}-gated-tiny.model-[0-9a-f]{{12}}", tag)
    assert labels(registry, "me/baked", tag)["model"] == f"{REPOSITORY}@{COMMIT}"
    assert unknown.returncode == 2
    assert "has no such branch, tag or commit" in unknown.stderr
    assert "Traceback" not in unknown.stderr

    same = checkout.images(
        "build", "--push", MODEL_NAME=REPOSITORY, MODEL_REVISION=COMMIT, HF_ENDPOINT="http://[::1]:1"
    )
    assert "it is not built again" in same.stderr, "and no hub is asked for a commit that is known"
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]
    assert not kept
    assert CANARY not in done.stdout + done.stderr


def test_all_that_decides_what_is_baked_is_in_the_name() -> None:
    def tag(**environ: str) -> str:
        files = ("-f", "docker/docker-bake.hcl", "-f", "docker/matrix.json")
        command = [*bake_command(), *files, "--print", ROW.replace(".", "-")]
        env = {"PATH": os.environ["PATH"], "MODEL_NAME": "Org/My_Model", **environ}
        planned = json.loads(subprocess.run(command, cwd=ROOT, env=env, capture_output=True, check=True).stdout)
        (name,) = planned["target"][ROW.replace(".", "-")]["tags"]
        assert ImageName.parse(name).tag.startswith(f"dev-{ROW}-")
        return str(name)

    others = [
        {},
        {"MODEL_NAME": "org/my-model"},
        {"MODEL_NAME": "Org/My_Model:Q4_K_M"},
        {"MODEL_NAME": "x" * 300},
        {"MODEL_NAME": "x" * 301},
        {"MODEL_REVISION": COMMIT},
        {"QUANTIZATION": "awq"},
        {"TOKENIZER_NAME": "a/b"},
        {"BASE_PATH": "/elsewhere"},
    ]
    assert len({tag(**environ) for environ in others}) == len(others)
    assert tag() == tag()


class Refusing(BaseHTTPRequestHandler):
    """A stand-in for a registry that lets nobody in."""

    def do_GET(self) -> None:
        body = json.dumps({"errors": [{"code": "DENIED", "message": "requested access is denied"}]}).encode()
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_POST = do_PUT = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_registry_that_refuses_is_said_so(registry: str, tmp_path: Path) -> None:
    """That it does not say what it has does not keep one from building; that it takes nothing ends in words."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        checkout = Checkout(tmp_path, IMAGE_REPOSITORY=f"localhost:{server.server_port}/me/rooms")
        done = checkout.images("build", "--push")
        server.shutdown()
    assert done.returncode == 2
    assert "could not be asked: " in done.stderr
    assert "error: the build ended with status 125; its last lines say why." in done.stderr
    assert f"If the registry refused it: `docker login localhost:{server.server_port}`." in done.stderr
    assert "Traceback" not in done.stderr


def test_a_push_without_a_registry_says_what_to_set(tmp_path: Path) -> None:
    done = Checkout(tmp_path).images("build", "--push")
    assert done.returncode == 2
    assert (
        "error: engineroom names no registry to push to: set IMAGE_REPOSITORY, such as ghcr.io/me/engineroom"
        in done.stderr
    )


def test_where_docker_runs_bake_builds_and_pushes(tmp_path: Path) -> None:
    """Docker is a stand-in that notes how it was called; the plan is the real Bake's."""
    real = shutil.which("docker-buildx")
    if real is None:
        pytest.skip("docker-buildx is not a program of its own here")
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    script(bin_folder / "docker", "exit 0")
    script(
        bin_folder / "docker-buildx",
        f'case "$*" in *--print*|version) exec {real} "$@";; esac\n'
        'if [ "$1" = imagetools ]; then echo "ERROR: $3: not found" >&2; exit 1; fi\n'
        'echo "$@ TOKEN=$HF_TOKEN TAG=$IMAGE_TAG" >>"$HOME/calls"',
    )
    checkout = Checkout(tmp_path / "copy", PATH=f"{bin_folder}:{os.environ['PATH']}", HF_TOKEN=CANARY)
    assert checkout.images("build").returncode == 0
    assert checkout.images("build", "--push", IMAGE_REPOSITORY="docker.io/me/rooms").returncode == 0
    local, remote = (tmp_path / "copy/calls").read_text().splitlines()
    target = ROW.replace(".", "-")
    assert local.endswith(f"--load {target} TOKEN={CANARY} TAG=")
    assert re.search(rf"--push {target} TOKEN={CANARY} TAG=0\.\S+-[0-9a-f]{{12}}$", remote)


def test_buildah_gets_what_bake_plans(plan: Mapping[str, Any]) -> None:
    """Bases that name no registry are Docker Hub's, which buildah wants in full; secrets are passed by reference."""
    target = {**plan["target"]["vllm-0-33-0-cu129"], "secret": ["type=env,id=HF_TOKEN", {"type": "file", "id": "pip"}]}
    arguments = bud_arguments(target)
    assert "--build-arg=BASE=docker.io/vllm/vllm-openai:v0.33.0-cu129" in arguments
    assert "--build-arg=BASE=docker.io/library/python:3.12-slim-bookworm" in bud_arguments(
        plan["target"]["transformers-5-23-0-cpu"]
    )
    assert "--tag=engineroom:dev-vllm-0.33.0-cu129" in arguments
    assert [argument for argument in arguments if "secret" in argument] == [
        "--secret=type=env,id=HF_TOKEN",
        "--secret=type=file,id=pip",
    ]
    unknown = set(target["args"]) - set(re.findall(r"^ARG (\w+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    assert not unknown
