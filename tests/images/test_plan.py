"""What Docker's Bake makes of the matrix, and what `make image-plan` prints."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from docker_bake import bake_command, docker_environment
from image_table import full_names, pages
from real_engine import script

from engineroom.errors import EngineroomError
from engineroom.hardware import Matrix

from .conftest import ROOT


def why_no_bake() -> str | None:
    """What `make image` says here; None where it would build."""
    try:
        bake_command()
    except EngineroomError as error:
        return str(error)
    return None


needs_bake = pytest.mark.skipif(why_no_bake() is not None, reason=why_no_bake() or "it works")


def printed(root: Path = ROOT, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "tools/images.py"), "plan"]
    given = {**docker_environment(), **(environ or {})}
    return subprocess.run(command, cwd=root, env=given, capture_output=True, text=True, timeout=60, check=False)


def targets(**environ: str) -> Mapping[str, Any]:
    done = printed(environ=environ)
    assert done.returncode == 0, done.stderr
    printed_targets: dict[str, Any] = json.loads(done.stdout)["target"]
    return printed_targets


@needs_bake
def test_the_plan_is_the_committed_one(plan: Mapping[str, Any]) -> None:
    assert targets() == plan["target"], "`make hub` writes docker/plan.json"


@needs_bake
@pytest.mark.parametrize("tool", ["tools/generate.py --check", "tools/images.py plan"])
def test_docker_s_plugins_are_searched_where_its_configuration_is(tool: str, tmp_path: Path) -> None:
    """DOCKER_CONFIG names the folder; a stand-in for Docker has its Bake only with that."""
    real = shutil.which("docker-buildx")
    if real is None:
        pytest.skip("Bake is here as a plugin of Docker's only")
    config = tmp_path / "config"
    script(tmp_path / "docker", f'[ "$DOCKER_CONFIG" = {config} ] || exit 1\nshift\nexec {real} "$@"')
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin", "DOCKER_CONFIG": str(config)}
    assert shutil.which("docker-buildx", path=environ["PATH"]) is None
    command = [sys.executable, *tool.split()]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_row_has_its_target(plan: Mapping[str, Any]) -> None:
    rows = Matrix.load(ROOT / "docker/matrix.json").rows
    assert set(plan["target"]) == {row.target for row in rows}
    for row in rows:
        target = plan["target"][row.target]
        assert target["args"]["BASE"] == row.base
        assert target["tags"] == [f"engineroom:dev-{row.name}"]
        assert target["target"] == "worker"


@pytest.mark.parametrize("docker", [None, "echo 'no such command: buildx' >&2; exit 1", "another machine"])
def test_without_buildx_it_says_what_to_install(tmp_path: Path, docker: str | None) -> None:
    """Also where there is a docker: a client without its plugin, or a file that this machine cannot run."""
    if docker is not None:
        script(tmp_path / "docker", docker)
    if docker == "another machine":
        (tmp_path / "docker").write_bytes(b"\x7fELF of another machine")
    done = printed(environ={"PATH": str(tmp_path)})
    assert done.returncode == 2
    assert "error: Docker's buildx is missing: install Docker" in done.stderr
    assert "Traceback" not in done.stderr


@needs_bake
def test_an_engine_s_targets_and_nothing_else() -> None:
    selected = targets(ENGINE="fastdeploy")
    assert selected
    assert all(name.startswith("fastdeploy-") for name in selected)
    assert list(targets(ENGINE="fastdeploy", SM="86", CUDA="12.9")) == ["fastdeploy-2-5-0-cu129"]


def test_an_unknown_engine_is_answered_with_the_known_ones() -> None:
    done = printed(environ={"ENGINE": "fastdeply"})
    assert done.returncode == 2
    assert done.stdout == ""
    assert "no image has ENGINE=fastdeply; known: " in done.stderr
    assert "fastdeploy" in done.stderr.partition("known: ")[2]


@needs_bake
def test_a_model_is_baked_by_arguments_and_its_token_is_a_secret() -> None:
    [target] = targets(ENGINE="vllm", CUDA="13.0", MODEL_NAME="Org/My Model", HF_TOKEN="hf_canary").values()
    assert target["target"] == "baked"
    assert target["args"]["MODEL_NAME"] == "Org/My Model"
    assert re.fullmatch(r"engineroom:dev-vllm-0\.33\.0-cu130-org-my-model-[0-9a-f]{12}", target["tags"][0])
    assert [(secret["type"], secret["id"]) for secret in map(as_fields, target["secret"])] == [("env", "HF_TOKEN")]
    assert "hf_canary" not in json.dumps(target)


def as_fields(secret: str | Mapping[str, str]) -> Mapping[str, str]:
    """A secret as newer releases of Bake print it, from the older ones' text."""
    return dict(part.split("=", 1) for part in secret.split(",")) if isinstance(secret, str) else secret


@needs_bake
def test_bake_in_the_root_takes_the_names_that_worker_vllm_s_users_know() -> None:
    """Without any option, beside a docker-compose.yml that Bake reads, too."""

    def bake(**environ: str) -> dict[str, Any]:
        done = subprocess.run(
            [*bake_command(), "--print", "--progress=quiet"],
            cwd=ROOT,
            env={**docker_environment(), **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "hf_canary" not in done.stdout + done.stderr
        printed_targets: dict[str, Any] = json.loads(done.stdout)["target"]
        return printed_targets

    assert set(bake()) == {row.target for row in Matrix.load(ROOT / "docker/matrix.json").rows}
    [target] = bake(
        ENGINE="vllm",
        DOCKERHUB_REPO="me",
        DOCKERHUB_IMG="worker-v1-vllm",
        RELEASE_VERSION="2.8.0",
        HUGGINGFACE_ACCESS_TOKEN="hf_canary",
        WORKER_CUDA_VERSION="12.9.1",
        MODEL_NAME="org/model",
        BASE_PATH="/models",
        QUANTIZATION="awq",
    ).values()
    assert target["tags"][0].startswith("me/worker-v1-vllm:2.8.0-vllm-0.33.0-cu129-org-model-")
    assert [as_fields(secret) for secret in target["secret"]] == [
        {"type": "env", "id": "HF_TOKEN", "src": "HUGGINGFACE_ACCESS_TOKEN"}
    ]
    wanted = {"MODEL_NAME": "org/model", "BASE_PATH": "/models", "QUANTIZATION": "awq", "VERSION": "2.8.0"}
    assert {name: target["args"][name] for name in wanted} == wanted
    ours = bake(
        ENGINE="vllm", CUDA="13.0", DOCKERHUB_REPO="me", IMAGE_TAG="1", RELEASE_VERSION="2", HF_TOKEN="hf_canary"
    )
    assert [target["tags"] for target in ours.values()] == [["me/engineroom:1-vllm-0.33.0-cu130"]]
    assert [as_fields(secret)["id"] for secret in ours["vllm-0-33-0-cu130"]["secret"]] == ["HF_TOKEN"]


@needs_bake
def test_a_new_row_and_repository_change_the_plan_and_the_files_made_from_them(tmp_path: Path) -> None:
    """In a copy of the repository, one row is added and the images get another repository; nothing else is edited."""
    root = tmp_path / "copy"
    for name in ("docker", "tools", "docs", "common/engineroom/hardware"):
        shutil.copytree(ROOT / name, root / name)
    for name in ("Dockerfile", ".dockerignore", "README.md", "CONTRIBUTING.md", "docker-compose.yml"):
        shutil.copy(ROOT / name, root)
    for listing in ROOT.glob("engines/*/listing.json"):
        (root / listing.relative_to(ROOT).parent).mkdir(parents=True)
        shutil.copy(listing, root / listing.relative_to(ROOT))
    matrix = root / "docker/matrix.json"
    content = json.loads(matrix.read_text())
    rows = content["variable"]["IMAGES"]["default"]
    rows.append({**rows[0], "name": "vllm-0.99.0-cu129", "version": "0.99.0", "base": "vllm/vllm-openai:v0.99.0"})
    content["variable"]["IMAGE_REPOSITORY"]["default"] = "registry.test/me/rooms"
    content["variable"]["SOURCE"]["default"] = "https://github.com/me/rooms"
    matrix.write_text(json.dumps(content))
    assert "vllm-0-99-0-cu129" in printed(root).stdout
    done = subprocess.run(
        [sys.executable, str(root / "tools/generate.py")], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    for name in ("docker/plan.json", "hub.json", "worker-config.json", "docs/images.md"):
        assert "0.99.0" in (root / name).read_text(), name
    packaged = Matrix.load(root / "common/engineroom/hardware/images.json")
    for row in packaged.rows:
        name = str(packaged.full_name(row, "latest"))
        assert name.startswith("registry.test/me/rooms:")
        assert json.loads((root / "worker-config.json").read_text())["versions"][row.name]["imageName"] == name
    plan = json.loads((root / "docker/plan.json").read_text())["target"]
    assert {tag.partition(":dev-")[0] for target in plan.values() for tag in target["tags"]} == {packaged.repository}, (
        "and no other"
    )
    for name in pages(root):
        named = {match["repository"] for match in full_names(packaged).finditer((root / name).read_text())}
        assert named <= {packaged.repository}, name
    assert (
        json.loads((root / "hub.json").read_text())["iconUrl"] == "https://github.com/me/rooms/raw/main/docs/icon.png"
    )
    assert "https://api.runpod.io/badge/me/rooms" in (root / "README.md").read_text()
    assert "IMAGE=registry.test/me/rooms:dev-" in (root / "docs/compose.md").read_text()
    pushed = subprocess.run(
        [sys.executable, str(root / "tools/images.py"), "outputs", "--owner", "ghcr.io/Somebody"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "\nrepository=registry.test/me/rooms\n" in pushed.stdout, "the workflow's"
    assert "vllm-0.99.0-cu129" in pushed.stdout, "the workflow's matrix"
