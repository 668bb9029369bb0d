"""The workflows: nothing in them is written that the matrix says, and other people's code is pinned."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import build_context
import pytest
import yaml
from programs import need
from real_engine import script

from engineroom.hardware import ImageName, Matrix

from .conftest import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
ROWS = Matrix.load(ROOT / "docker/matrix.json").rows


def load(name: str) -> Any:
    return yaml.safe_load((ROOT / ".github/workflows" / name).read_text())


def steps(workflow: Any) -> list[dict[str, Any]]:
    """All steps; a job that is another workflow is one by itself."""
    return [step for job in workflow["jobs"].values() for step in job.get("steps", [job])]


def order(job: dict[str, Any], *wanted: str) -> list[int]:
    """Where in a job the steps stand that use or run these, each of which there must be."""
    texts = [f"{step.get('uses', '')}\n{step.get('run', '')}" for step in job["steps"]]
    return [next(number for number, text in enumerate(texts) if part in text) for part in wanted]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned(path: Any) -> None:
    """By commit, with the release that it is beside it, whoever made them; other workflows of ours need none."""
    for step in steps(yaml.safe_load(path.read_text())):
        used = step.get("uses", "./")
        if not used.startswith("./"):
            assert re.fullmatch(r"[\w.-]+(/[\w.-]+)+@[0-9a-f]{40}", used)
            assert re.search(rf"{re.escape(used)} # v\d", path.read_text()), f"{used}: which release is it?"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_what_a_workflow_installs_is_pinned(path: Any) -> None:
    for step in steps(yaml.safe_load(path.read_text())):
        for line in step.get("run", "").splitlines():
            assert "pip install" not in line or "--require-hashes" in line, line


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_no_password_and_no_more_rights_than_it_uses(path: Any) -> None:
    """But for the token of a registry other than GitHub's own, where someone pushes images to one."""
    workflow = yaml.safe_load(path.read_text())
    secrets = re.findall(r"secrets\.\w+[^}]*", path.read_text())
    assert {text.split()[0] for text in secrets} <= {"secrets.REGISTRY_TOKEN"}
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert job.get("timeout-minutes") or "uses" in job, f"{name} may run for hours"


@pytest.mark.parametrize("path", [*WORKFLOWS, ROOT / "docker/docker-bake.hcl", ROOT / "Dockerfile"])
def test_versions_and_bases_are_only_in_the_matrix(path: Any) -> None:
    text = path.read_text()
    if path.name == "Dockerfile":  # `make hub` writes its arguments' defaults; another test compares them.
        text = re.sub(r"^ARG .*$", "", text, flags=re.MULTILINE)
    written = {value for row in ROWS for value in (row.version, row.base, row.index, row.name) if value}
    assert not [value for value in written if value in text]


def test_images_are_scanned_and_described_before_they_are_pushed() -> None:
    job = load("images.yml")["jobs"]["image"]
    places = order(job, "docker/bake-action", "aquasecurity/trivy-action", "anchore/sbom-action", "docker push")
    assert places == sorted(places)
    assert job["strategy"]["matrix"]["row"] == "${{ fromJSON(needs.rows.outputs.rows) }}"


def test_images_are_signed_by_what_was_pushed() -> None:
    """By digest and without a key: a tag can be moved between pushing and signing, and a key can be lost."""
    job = load("images.yml")["jobs"]["image"]
    places = order(job, "docker push", "sigstore/cosign-installer", "cosign sign", "actions/attest-build-provenance")
    assert places == sorted(places)
    sign, attest = (job["steps"][place] for place in places[2:])
    assert sign["run"] == 'cosign sign --yes "$IMAGE_REPOSITORY@$DIGEST"'
    assert sign["env"]["DIGEST"] == attest["with"]["subject-digest"] == "${{ steps.push.outputs.digest }}"
    assert {"id-token", "attestations", "packages"} <= {
        name for name, may in job["permissions"].items() if may == "write"
    }


def test_a_release_is_tested_checked_attested_and_published_without_a_password() -> None:
    """Only the job that publishes is in the environment that PyPI trusts, and it runs nothing of ours."""
    workflow = load("release.yml")
    assert workflow[True]["push"] == {"tags": ["[0-9]+.[0-9]+.[0-9]+"]}, "YAML's word `on` is true"
    jobs = workflow["jobs"]
    assert jobs["test"]["uses"] == "./.github/workflows/ci.yml"
    assert "workflow_call" in load("ci.yml")[True]
    places = order(
        jobs["build"], "make packages", "release.py check", "make sbom", "attest-build-provenance", "upload-artifact"
    )
    assert places == sorted(places)
    assert jobs["publish"]["needs"] == ["test", "build"]
    assert [name for name, job in jobs.items() if job.get("environment") == "pypi"] == ["publish"]
    places = order(jobs["publish"], "actions/download-artifact", "uv publish --trusted-publishing always")
    assert places == sorted(places)
    assert jobs["publish"]["permissions"] == {"contents": "read", "id-token": "write"}
    assert jobs["announce"]["needs"] == ["publish", "images"]


def test_a_release_has_images_first_and_then_the_changelog_s_words() -> None:
    """RunPod's Hub indexes releases: what one names must be there."""
    jobs = load("release.yml")["jobs"]
    assert jobs["images"]["uses"] == "./.github/workflows/images.yml"
    assert jobs["images"]["needs"] == ["test", "build"]
    assert jobs["images"]["permissions"] == load("images.yml")["jobs"]["image"]["permissions"]
    assert "workflow_call" in load("images.yml")[True]
    announced = jobs["announce"]["steps"][-1]["run"]
    assert announced == 'gh release create "$GITHUB_REF_NAME" --verify-tag --notes-file notes/notes.md dist/* sbom/*'


def test_every_branch_but_main_has_images() -> None:
    pushed = load("images.yml")[True]["push"]
    assert pushed["branches-ignore"] == ["main"]
    assert "branches" not in pushed
    assert "tags" not in pushed, "a tag's are the release's"


@pytest.mark.parametrize(
    ("kind", "name", "tag"),
    [
        ("branch", "feature/new-api", "dev-feature-new-api"),
        ("branch", "dev/ümlaut #1", "dev-dev--mlaut--1"),
        ("tag", "2.8.0", "2.8.0"),
    ],
)
def test_a_branch_s_images_are_called_by_it(kind: str, name: str, tag: str, tmp_path: Path) -> None:
    """The workflow's own script, with a stand-in for pip."""
    (step,) = [step for step in load("images.yml")["jobs"]["rows"]["steps"] if step.get("id") == "read"]
    script(tmp_path / "pip", "exit 0")
    output = tmp_path / "output"
    environ = {
        "PATH": f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "GITHUB_OUTPUT": str(output),
        "LC_ALL": "C.UTF-8",
        **dict.fromkeys(step["env"], ""),
        "OWNER": "ghcr.io/Some-Body",
        "REF_TYPE": kind,
        "REF_NAME": name,
    }
    subprocess.run(["bash", "-e", "-c", step["run"]], cwd=ROOT, env=environ, check=True, timeout=60)
    outputs = dict(line.split("=", 1) for line in output.read_text().splitlines())
    assert outputs["tag"] == tag
    assert ImageName.parse(f"{outputs['repository']}:{outputs['tag']}-{ROWS[0].name}").owned
    assert outputs["repository"] == "ghcr.io/some-body/engineroom"
    assert outputs["registry"] == "ghcr.io"
    assert [row["name"] for row in json.loads(outputs["rows"])] == [row.name for row in ROWS]


def test_whatever_an_image_is_made_of_makes_new_ones() -> None:
    """A push that changes none of the paths builds nothing, so every file that the Dockerfile copies is among them."""
    patterns = load("images.yml")[True]["push"]["paths"]
    matchers = [re.compile(re.escape(p).replace(r"\*\*", ".*").replace(r"\*", "[^/]*")) for p in patterns]
    made_of = {path.relative_to(ROOT).as_posix() for path in build_context.files(ROOT)}
    made_of |= {"Dockerfile", ".dockerignore", "docker/docker-bake.hcl", ".github/workflows/images.yml"}
    assert {"common/engineroom/cli.py", "requirements/image.txt", "docker/matrix.json"} <= made_of
    assert not [path for path in sorted(made_of) if not any(matcher.fullmatch(path) for matcher in matchers)]


CHECK_SCHEMA = shutil.which("check-jsonschema", path=str(Path(sys.executable).parent)) or "check-jsonschema"


def test_workflows_and_the_bot_s_configuration_are_what_their_readers_take() -> None:
    need(CHECK_SCHEMA, "--version")
    for schema, files in (("github-workflows", WORKFLOWS), ("renovate", [ROOT / ".github/renovate.json"])):
        command = [CHECK_SCHEMA, "--builtin-schema", f"vendor.{schema}", *map(str, files)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_bot_sees_every_base_and_what_rows_add() -> None:
    managers = json.loads((ROOT / ".github/renovate.json").read_text())["customManagers"]
    text = (ROOT / "docker/matrix.json").read_text()
    seen = set()
    for manager in managers:
        (pattern,) = manager["matchStrings"]
        for match in re.finditer(pattern.replace("(?<", "(?P<"), text):
            seen.add((match["depName"], match["currentValue"]))
    bases = {tuple(row.base.rsplit(":", 1)) for row in ROWS}
    wheels = {tuple(word.split("==")) for row in ROWS for word in (row.reinstall or row.add).split() if "==" in word}
    assert wheels
    assert seen == bases | wheels


def test_compose_names_settings_that_there_are() -> None:
    from engineroom import plugins
    from engineroom.settings import Environment

    service = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["worker"]
    engine, env = plugins.engine_class(Environment.of({"ENGINE": "echo"}))
    known = {
        name for group in plugins.settings_groups(engine, env) for setting in group.describe() for name in setting.names
    }
    assert set(service["environment"]) - known == {
        *("HF_TOKEN", "HF_HOME", "MODELSCOPE_CACHE"),
        "FORWARDED_ALLOW_IPS",  # uvicorn's
    }
