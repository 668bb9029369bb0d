"""The workflows: nothing in them is written that the matrix says, and other people's code is pinned."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from engineroom.hardware import Matrix

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
    assert secrets == (["secrets.REGISTRY_TOKEN || github.token "] if path.name == "images.yml" else [])
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
    assert workflow[True]["push"]["tags"] == load("images.yml")[True]["push"]["tags"], "YAML's word `on` is true"
    jobs = workflow["jobs"]
    assert jobs["test"]["uses"] == "./.github/workflows/ci.yml"
    assert "workflow_call" in load("ci.yml")[True]
    places = order(jobs["build"], "make packages", "$GITHUB_REF_NAME", "attest-build-provenance", "upload-artifact")
    assert places == sorted(places)
    assert jobs["publish"]["needs"] == ["test", "build"]
    assert [name for name, job in jobs.items() if job.get("environment") == "pypi"] == ["publish"]
    places = order(jobs["publish"], "actions/download-artifact", "uv publish --trusted-publishing always")
    assert places == sorted(places)
    assert jobs["publish"]["permissions"] == {"contents": "read", "id-token": "write"}
    assert jobs["announce"]["needs"] == "publish"


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
