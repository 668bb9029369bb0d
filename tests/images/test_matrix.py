"""The image matrix: what its schema refuses, and what is answered to names that are not in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engineroom.errors import EngineStartError
from engineroom.hardware import Matrix, MatrixError, gpus

from .conftest import ROOT
from .wheels import requirements

REPOSITORY = "registry.test/me/rooms"
GOOD = {
    "name": "wheel-1.0-cu129",
    "engine": "wheel",
    "version": "1.0",
    "cuda": "12.9",
    "driver": 535,
    "sm": ["80", "90"],
    "base": "registry.test/wheel:1.0",
    "user": "10001",
}
OTHER = {**GOOD, "name": "wheel-1.0-cu129-sm89", "sm": ["89"]}
CPU = {"name": "wheel-1.0-cpu", "engine": "wheel", "version": "1.0", "base": "registry.test/wheel:1.0-cpu", "user": "1"}


def matrix(folder: Path, *rows: Any) -> Matrix:
    path = folder / "matrix.json"
    path.write_text(
        json.dumps({"variable": {"IMAGE_REPOSITORY": {"default": REPOSITORY}, "IMAGES": {"default": list(rows)}}})
    )
    return Matrix.load(path)


def test_the_real_one_is_well_formed_and_has_every_engine_that_ships() -> None:
    real = Matrix.load(ROOT / "docker/matrix.json")
    assert set(real.engines) == {path.parent.name for path in ROOT.glob("engines/*/pyproject.toml")}


def test_the_libraries_in_an_image_are_those_that_the_tests_run() -> None:
    rows = [row for row in Matrix.load(ROOT / "docker/matrix.json").rows if row.add]
    added = [word for row in rows for word in row.add.split() if "==" in word]
    assert added == [pin for pin in pins("serve.txt") if pin.startswith(("xllamacpp", "google-re2"))][::-1]
    files = [Path(word) for row in rows for word in row.add.split() if word.endswith(".txt")]
    assert [file.name for file in files] == ["openvino.txt", "transformers-cpu.txt", "transformers-cuda.txt"]
    files.pop(0)
    (openvino,) = {row.version for row in rows if row.engine == "openvino"}
    assert any(pin.startswith(f"openvino-genai=={openvino}") for pin in pins("openvino.txt"))
    tested = set(pins("transformers-cpu.txt"))
    for name in ("transformers", "accelerate", "gguf", "llguidance", "tokenizers"):
        (pin,) = {pin for pin in tested if pin.startswith(f"{name}==")}
        assert all(pin in pins(file.name) for file in files)
    versions = {row.version for row in rows if row.engine == "transformers"}
    assert {f"transformers=={version}" for version in versions} <= tested


def test_what_an_image_adds_leaves_the_worker_s_pins_alone() -> None:
    own = dict(pin.split("==") for pin in pins("image.txt"))
    for name in ("openvino.txt", "transformers-cpu.txt", "transformers-cuda.txt"):
        added = dict(pin.split("==") for pin in pins(name))
        assert {key: (own[key], added[key]) for key in own.keys() & added if own[key] != added[key]} == {}


def pins(name: str) -> list[str]:
    """The `name==version` of a requirements file, without markers."""
    return [line.split(";")[0].strip() for line in requirements((ROOT / "requirements" / name).read_text())]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 1}, "row 2 (wheel-1.0-cu129): Expected `str`, got `int`"),
        ({"enigne": "wheel"}, "row 2 (wheel-1.0-cu129): Object contains unknown field `enigne`"),
        ({}, "row 2 (wheel-1.0-cu129): there is another row with this name"),
        ({"name": "wheel-1.0-cu129-sm80-90"}, "row 2 (wheel-1.0-cu129-sm80-90): wheel-1.0-cu129 is the same"),
        ({"name": "wheel"}, "row 2 (wheel): its name must begin with wheel-1.0-cu129"),
        ({"cuda": "12.6", "sm": ["120"]}, "CUDA 12.6 does not support sm 120; 12.8 is the first that does"),
        ({"cuda": "13.0", "sm": ["70"]}, "CUDA 13.0 no longer supports sm 70"),
        ({"sm": ["8.9"]}, "sm '8.9' is not a compute capability such as 89"),
        ({"cuda": "twelve"}, "cuda 'twelve' is not a version such as 12.9"),
        ({"driver": 470}, "CUDA 12.9 needs driver 525 or newer, not 470"),
        ({"sm": []}, "`cuda`, `driver` and `sm` go together"),
        ({"base": "registry.test/wheel:latest"}, "must name a tag, and not `latest`"),
        ({"base": "registry.test:5000/wheel"}, "must name a tag, and not `latest`"),
        ({"reinstall": "wheel==1.0"}, "`reinstall` and `index` go together"),
        ({"user": "nobody"}, "its user 'nobody' must be a numeric id"),
        ({"user": "0"}, "or says in `root` why it cannot"),
        ({"root": "it is so"}, "or says in `root` why it cannot"),
    ],
)
def test_a_row_that_cannot_be_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(MatrixError) as refused:
        matrix(tmp_path, GOOD, {**GOOD, **change})
    assert message in str(refused.value)


def test_rows_are_chosen_by_engine_cuda_and_sm(tmp_path: Path) -> None:
    rows = matrix(tmp_path, GOOD, OTHER, CPU)
    assert [row.name for row in rows.select(sm="89")] == ["wheel-1.0-cu129-sm89"]
    assert [row.name for row in rows.select("wheel", cuda="none")] == ["wheel-1.0-cpu"]
    assert rows.select("wheel") == rows.rows


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (("whele", "", ""), "no image has ENGINE=whele; known: wheel"),
        (("wheel", "11.8", ""), "no image has CUDA=11.8; known: 12.9, none"),
        (("wheel", "12.9", "75"), "no image has SM=75; known: 80, 89, 90"),
    ],
)
def test_an_unknown_name_is_answered_with_the_known_ones(
    tmp_path: Path, wanted: tuple[str, str, str], message: str
) -> None:
    with pytest.raises(MatrixError, match=message):
        matrix(tmp_path, GOOD, OTHER, CPU).select(*wanted)


@pytest.mark.parametrize(
    ("device", "message"),
    [
        (gpus.Device("L4", "89", 550), "L4 has compute capability 89, .*: use the image wheel-1.0-cu129-sm89 "),
        (gpus.Device("A100", "80", 470), "the NVIDIA driver is 470, .* needs 535 or newer: none of the images runs"),
        (gpus.Device("A100", "80", 535), None),
    ],
)
def test_a_machine_that_the_image_does_not_fit_is_told_which_does(
    tmp_path: Path, device: gpus.Device, message: str | None
) -> None:
    rows = matrix(tmp_path, GOOD, OTHER, CPU)
    if message is None:
        gpus.check(rows.rows[0], [device], rows)
        return
    with pytest.raises(EngineStartError, match=message):
        gpus.check(rows.rows[0], [device], rows)
