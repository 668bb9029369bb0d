"""`make release-check`: the workflow's steps as far as they go here, and names that have to agree."""

from __future__ import annotations

import json
import re
import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import release_check
from release_check import CheckedStep, ReleaseCheck
from release_names import ReleaseNames
from workflow_steps import UnknownValueError, filled_in, steps

from engineroom import __version__

ROOT = Path(__file__).parents[1]
FILES = (
    *("CONTRIBUTING.md", "Makefile", "README.md", "docker-compose.yml", "hub.json", "worker-config.json"),
    *("*/pyproject.toml", "engines/*/pyproject.toml", "engines/*/listing.json", "docs/*.md", ".runpod/hub.json"),
    *("docker/*.json", "requirements/image.txt"),
)
OTHER_VERSION = "9.9.9"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of all that is compared."""
    for pattern in FILES:
        for file in ROOT.glob(pattern):
            copy = tmp_path / file.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
    return tmp_path


def wrong(checkout: Path) -> list[str]:
    return [text for check in ReleaseNames(checkout, __version__).checks.values() for text in check()]


def test_names_agree(checkout: Path) -> None:
    assert wrong(checkout) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "workers/pyproject.toml",
            f"engineroom=={__version__}",
            f"engineroom=={OTHER_VERSION}",
            "workers/pyproject.toml says 9.9.9",
        ),
        ("Makefile", " engines/max", "", "the Makefile's DISTRIBUTIONS lacks engines/max"),
        (
            "engines/max/pyproject.toml",
            'name = "engineroom-max"',
            'name = "max"',
            "does not call itself engineroom-max",
        ),
        ("docker/plan.json", '"max-26-7-0-cu130": {', '"max-27-0-0-cu130": {', "docker/plan.json lacks max-26"),
        ("docs/images.md", "| `max-26", "| `max-27", "docs/images.md lacks max-26"),
        ("worker-config.json", '"engineroom:latest-max', '"other:latest-max', "worker-config.json calls max-26"),
        (
            "docs/compose.md",
            "IMAGE=engineroom:dev",
            "IMAGE=other/rooms:dev",
            "docs/compose.md has other/rooms:dev-vllm",
        ),
        (
            "docker-compose.yml",
            "${IMAGE:-engineroom:dev-vllm",
            "${IMAGE:-engineroom:dev-echo",
            "docker-compose.yml runs",
        ),
        (".runpod/hub.json", "This image: vllm", "This image: echo", ".runpod/hub.json is not of vllm-"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_each_disagreement_is_named(checkout: Path, file: str, old: str, new: str, message: str) -> None:
    text = (checkout / file).read_text()
    assert old in text
    (checkout / file).write_text(text.replace(old, new, 1))
    assert [text for text in wrong(checkout) if message in text]


def test_an_image_of_ours_has_the_version_of_ours(checkout: Path) -> None:
    matrix = checkout / "docker/matrix.json"
    matrix.write_text(matrix.read_text().replace(__version__, OTHER_VERSION))
    assert "docker/matrix.json has echo-9.9.9-cpu, of version 9.9.9" in wrong(checkout)


def test_an_engine_without_an_image_or_a_listing_is_named(checkout: Path) -> None:
    shutil.copytree(checkout / "engines/echo", checkout / "engines/another")
    (checkout / "engines/another/listing.json").unlink()
    problems = wrong(checkout)
    assert "docker/matrix.json lacks another" in problems
    assert "engines/*/listing.json lacks another" in problems


def test_an_sbom_lists_what_images_install(checkout: Path) -> None:
    pins = re.findall(r"^([\w.-]+)==", (ROOT / "requirements/image.txt").read_text(), re.MULTILINE)
    sbom = checkout / "sbom.json"
    content = {
        "metadata": {"component": {"name": "engineroom", "version": __version__}},
        "components": [{"name": name} for name in pins],
    }
    sbom.write_text(json.dumps(content))
    names = ReleaseNames(checkout, __version__)
    assert list(names.listed(sbom)) == []
    content["components"] = content["components"][1:]
    sbom.write_text(json.dumps(content))
    assert list(names.listed(sbom)) == [f"sbom.json lacks {pins[0]}"]


def test_a_workflow_is_read_in_the_order_in_which_it_runs() -> None:
    jobs = list(dict.fromkeys(step.job for step in steps(ROOT / ".github/workflows/release.yml")))
    assert jobs.index("build") < jobs.index("publish") < jobs.index("announce")
    assert jobs.index("images") < jobs.index("announce")


def test_expressions_are_filled_in_or_named() -> None:
    values = {"github.ref_name": "0.2.0", "vars.NAME": "", "github.actor": "me"}
    assert filled_in("v${{ github.ref_name }}-${{ vars.NAME || github.actor }}", values) == "v0.2.0-me"
    with pytest.raises(UnknownValueError, match=re.escape("secrets.OTHER")):
        filled_in("${{ secrets.OTHER }}", values)


def test_every_action_of_the_workflows_is_done_or_has_its_reason() -> None:
    known = {*release_check.MACHINERY, *release_check.ON_GITHUB, "docker/bake-action"}
    known |= {"actions/upload-artifact", "actions/download-artifact"}
    for name in ("release", "images"):
        for step in steps(ROOT / f".github/workflows/{name}.yml"):
            assert step.script or step.action.startswith("./") or step.action in known, step.action


@pytest.fixture
def tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, CheckedStep]]:
    """Tries a workflow of these jobs; its steps' rows by their titles."""

    def attempt(jobs: str) -> dict[str, CheckedStep]:
        (tmp_path / "workflows").mkdir()
        (tmp_path / "workflows/release.yml").write_text(f"jobs:\n{textwrap.indent(textwrap.dedent(jobs), '  ')}")
        monkeypatch.setattr(release_check, "WORKFLOWS", tmp_path / "workflows")
        folder = tmp_path / "folder"
        folder.mkdir()
        check = ReleaseCheck("0.2.0", folder, with_images=False, say=lambda text: None)
        return {row.what: row for row in check.rows() if row.part != "names"}

    return attempt


def test_steps_are_done_and_what_goes_out_is_not(
    tried: Callable[[str], dict[str, CheckedStep]], tmp_path: Path
) -> None:
    rows = tried(f"""
    second:
      needs: first
      steps:
        - {{name: takes, uses: actions/download-artifact@0, with: {{name: made}}}}
        - {{name: takes nothing, uses: actions/download-artifact@0, with: {{name: other}}}}
        - {{name: publishes, run: "uv publish; touch {tmp_path}/published"}}
    first:
      timeout-minutes: 1
      steps:
        - uses: actions/checkout@0
        - {{name: writes, run: 'mkdir made; echo "$GITHUB_REF_NAME" >made/version; test -e Makefile'}}
        - {{name: keeps, uses: actions/upload-artifact@0, with: {{name: made, path: made/}}}}
        - {{name: keeps nothing, uses: actions/upload-artifact@0, with: {{name: none, path: none/}}}}
        - {{name: fails, run: "echo first; false; echo second"}}
        - {{name: comes last, run: "echo 'error: CHANGELOG.md has no date for 0.2.0: write it' >&2; exit 1"}}
        - {{name: is new, uses: somebody/action@0}}
        - {{name: is of GitHub, uses: actions/attest-build-provenance@0}}
        - {{name: wants more, run: "echo ${{{{ secrets.MORE }}}}"}}
    """)
    assert {title: row.outcome for title, row in rows.items()} == {
        "writes": "ok",
        "keeps (made)": "ok",
        "keeps nothing (none)": "FAILED",
        "fails": "FAILED",
        "comes last": "TO DO",
        "is new": "FAILED",
        "is of GitHub": "NOT CHECKED",
        "wants more": "FAILED",
        "takes (made)": "ok",
        "takes nothing (other)": "FAILED",
        "publishes": "NOT CHECKED",
    }
    assert not (tmp_path / "published").exists()
    assert not (ROOT / "made").exists()
    assert rows["comes last"].remark == "CHANGELOG.md has no date for 0.2.0: write it"
    assert "secrets.MORE" in rows["wants more"].remark
