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


def steps(workflow: Any) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned(path: Any) -> None:
    """By commit; GitHub's own at least by release."""
    for step in steps(yaml.safe_load(path.read_text())):
        if used := step.get("uses"):
            name, _, version = used.partition("@")
            assert re.fullmatch(r"[0-9a-f]{40}", version) or (name.startswith("github/") and version[0] == "v"), used


@pytest.mark.parametrize("path", [*WORKFLOWS, ROOT / "docker/docker-bake.hcl", ROOT / "Dockerfile"])
def test_versions_and_bases_are_only_in_the_matrix(path: Any) -> None:
    text = path.read_text()
    if path.name == "Dockerfile":  # `make hub` writes its arguments' defaults; another test compares them.
        text = re.sub(r"^ARG .*$", "", text, flags=re.MULTILINE)
    written = {value for row in ROWS for value in (row.version, row.base, row.index, row.name) if value}
    assert not [value for value in written if value in text]


def test_images_are_scanned_and_described_before_they_are_pushed() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/images.yml").read_text())
    names = [step.get("uses", step.get("run", "")).partition("@")[0] for step in workflow["jobs"]["image"]["steps"]]
    build, scan = names.index("docker/bake-action"), names.index("aquasecurity/trivy-action")
    sbom, push = names.index("anchore/sbom-action"), next(i for i, name in enumerate(names) if "docker push" in name)
    assert build < scan < sbom < push
    assert workflow["jobs"]["image"]["strategy"]["matrix"]["row"] == "${{ fromJSON(needs.rows.outputs.rows) }}"


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
