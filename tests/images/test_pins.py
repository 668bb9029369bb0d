"""The compiled requirements: hashes and no index in each, and pins for one Python that an image with another takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .conftest import ROOT
from .wheels import requirements

_ONLY_A_GPU_S = re.compile(r"(nvidia|cuda)-|(triton|bitsandbytes)$")


def pins(name: str) -> dict[str, str]:
    lines = requirements((ROOT / "requirements" / name).read_text())
    return dict(line.split(";")[0].strip().split("==") for line in lines)


def test_the_cpu_image_s_pins_are_right_for_its_python() -> None:
    """They are the tests', compiled for 3.11; those of the GPU image are compiled for the Python that both have."""
    tests, image = pins("transformers-cpu.txt"), pins("transformers-cuda.txt")
    assert tests.pop("torch") == image.pop("torch") + "+cpu"
    assert {name: version for name, version in image.items() if not _ONLY_A_GPU_S.match(name)} == tests


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").glob("*.in")), ids=lambda path: path.stem)
def test_what_is_installed_is_what_was_locked(path: Path) -> None:
    """Every pin has its hashes, and no file names an index; only torch's CPU wheels come from another than PyPI."""
    text = path.with_suffix(".txt").read_text()
    assert not re.search(r"^-|://", text, re.MULTILINE)
    pinned = re.split(r"\n(?=\S)", text.strip())
    assert pinned
    without = [
        pin for pin in pinned if not re.fullmatch(r"[\w.-]+==\S+[^\\]*( \\\n    --hash=sha256:[0-9a-f]{64})+", pin)
    ]
    assert [pin for pin in without if not re.fullmatch(r"torch==\S+\+cpu", pin)] == []


def test_every_compiled_file_is_one_of_make_lock_s() -> None:
    from_source = {path.stem for path in (ROOT / "requirements").glob("*.in")}
    assert {path.stem for path in (ROOT / "requirements").glob("*.txt")} == from_source
    program = (ROOT / "tools/lock.py").read_text()
    assert set(re.findall(r'Lock\("([\w-]+)"', program)) == from_source
