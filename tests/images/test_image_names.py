"""What images are called, which one suits an engine and a GPU, and which row a full name is of."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from engineroom.hardware import IMAGE_REPOSITORY, ImageName, ImageNameError, Matrix, MatrixError

from .conftest import ROOT
from .test_matrix import CPU, GOOD, OTHER, matrix

DIGEST = "sha256:" + "0123456789abcdef" * 4
PLAIN = {**CPU, "name": "plain-1.0-cpu", "engine": "plain"}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("engineroom", ("", "engineroom", "", "")),
        ("engineroom:dev-cpu", ("", "engineroom", "dev-cpu", "")),
        ("me/engineroom:1", ("", "me/engineroom", "1", "")),
        ("localhost/engineroom", ("localhost", "engineroom", "", "")),
        ("localhost:5000/a/b:1.0", ("localhost:5000", "a/b", "1.0", "")),
        ("ghcr.io/me/engineroom", ("ghcr.io", "me/engineroom", "", "")),
        ("[::1]:5000/x:1", ("[::1]:5000", "x", "1", "")),
        (f"ghcr.io/me/x@{DIGEST}", ("ghcr.io", "me/x", "", DIGEST)),
        (f"ghcr.io/me/x:1@{DIGEST}", ("ghcr.io", "me/x", "1", DIGEST)),
    ],
)
def test_a_name_is_read_as_docker_reads_it(text: str, parts: tuple[str, str, str, str]) -> None:
    name = ImageName.parse(text)
    assert (name.registry, name.repository, name.tag, name.digest) == parts
    assert str(name) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":1",
        "Me/x",
        "ghcr.io/",
        "ghcr.io/Me/x",
        "a//b",
        "x:",
        "x:-1",
        f"x:{'1' * 129}",
        "x@sha256:1",
        "a b",
    ],
)
def test_what_is_no_name_is_refused_in_words(text: str) -> None:
    with pytest.raises(ImageNameError, match=re.escape(repr(text))):
        ImageName.parse(text)


@pytest.mark.parametrize(
    ("text", "owned", "host", "path"),
    [
        ("engineroom", False, "docker.io", "library/engineroom"),
        ("me/engineroom", True, "docker.io", "me/engineroom"),
        ("docker.io/me/engineroom", True, "docker.io", "me/engineroom"),
        ("ghcr.io/engineroom", True, "ghcr.io", "engineroom"),
    ],
)
def test_a_name_says_which_registry_has_it(text: str, owned: bool, host: str, path: str) -> None:
    name = ImageName.parse(text)
    assert (name.owned, name.host, name.path) == (owned, host, path)


def test_an_image_is_chosen_for_the_gpus_that_it_shall_run_on(tmp_path: Path) -> None:
    rows = matrix(tmp_path, GOOD, OTHER, CPU, PLAIN)
    assert rows.choose("wheel", ["80"]).name == "wheel-1.0-cu129"
    assert rows.choose("wheel", ["80", "90"]).name == "wheel-1.0-cu129"
    assert rows.choose("wheel", ["89"], "12.9").name == "wheel-1.0-cu129-sm89"
    assert rows.choose("wheel").name == "wheel-1.0-cpu"
    assert rows.choose("plain", ["89"]).name == "plain-1.0-cpu", "it has no other, and needs no GPU"


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (("whele", [], ""), "no image has ENGINE=whele; known: plain, wheel"),
        (
            ("wheel", ["70"], ""),
            "no image of wheel runs on compute capability 7.0 (wheel-1.0-cu129 is for compute capability 8.0, 9.0; "
            "wheel-1.0-cu129-sm89 is for compute capability 8.9; wheel-1.0-cpu is for machines without a GPU); "
            "none of the others does",
        ),
        (("wheel", ["80", "89"], ""), "no image of wheel runs on compute capability 8.0, 8.9"),
        (("wheel", ["80"], "13.0"), "no image has CUDA=13.0; known: 12.9"),
    ],
)
def test_what_no_image_suits_is_answered_with_what_there_is(
    tmp_path: Path, wanted: tuple[str, list[str], str], message: str
) -> None:
    with pytest.raises(MatrixError) as refused:
        matrix(tmp_path, GOOD, OTHER, CPU, PLAIN).choose(*wanted)
    assert message in str(refused.value)


def test_an_engine_without_an_image_for_a_machine_leads_to_those_that_have_one(tmp_path: Path) -> None:
    with pytest.raises(MatrixError, match=r"these images do: plain-1\.0-cpu$"):
        matrix(tmp_path, GOOD, PLAIN).choose("wheel")


def test_every_image_is_called_by_one_repository(tmp_path: Path) -> None:
    rows = matrix(tmp_path, GOOD, CPU)
    assert str(rows.full_name(rows.rows[1], "latest")) == "registry.test/me/rooms:latest-wheel-1.0-cpu"
    assert str(rows.full_name(rows.rows[1], "1", "me/mine")) == "me/mine:1-wheel-1.0-cpu"
    with pytest.raises(ImageNameError):
        rows.full_name(rows.rows[1], "no tag", "me/mine")


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("x/y:0.1.0-wheel-1.0-cu129", "wheel-1.0-cu129"),
        ("x/y:dev-wheel-1.0-cu129-sm89", "wheel-1.0-cu129-sm89"),
        ("x/y:1-wheel-1.0-cpu-org-model-q4_k_m-0123456789ab", "wheel-1.0-cpu"),
        ("localhost:5000/y:dev-a-branch-wheel-1.0-cpu", "wheel-1.0-cpu"),
        ("x/y:1-wheel-1.0-cpux", None),
        ("x/y:wheel-1.1-cpu", None),
        ("wheel-1.0-cpu", None),
    ],
)
def test_a_full_name_leads_back_to_its_row(tmp_path: Path, name: str, row: str | None) -> None:
    image = matrix(tmp_path, GOOD, OTHER, CPU).row_of(name)
    assert (image.name if image else None) == row


def test_the_installed_copy_is_the_matrix() -> None:
    packaged, real = Matrix.packaged(), Matrix.load(ROOT / "docker/matrix.json")
    assert (packaged.rows, packaged.repository) == (real.rows, real.repository), "`make hub` writes it"
    for row in packaged.rows:
        assert packaged.row_of(str(packaged.full_name(row, "latest"))) == row
        assert packaged.choose(row.engine, row.sm, row.cuda or "").engine == row.engine


@pytest.mark.parametrize(
    ("variable", "printed"),
    [
        ("rooms", "repository=ghcr.io/some-body/rooms\nregistry=ghcr.io\n"),
        ("me/rooms", "repository=me/rooms\nregistry=docker.io\n"),
        ("me/rooms:1", "error: IMAGE_REPOSITORY=me/rooms:1: it ends before the tag"),
        ("docker.io/Me/rooms", "error: 'docker.io/Me/rooms' is no name of an image"),
    ],
)
def test_the_workflow_pushes_to_the_variable_s_repository(variable: str, printed: str) -> None:
    """Without one, to the matrix's name under whoever owns the repository that the workflow runs in."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools/images.py"), "outputs", "--owner", "ghcr.io/Some-Body"],
        env={IMAGE_REPOSITORY: variable},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert printed in done.stdout + done.stderr
