"""Pins for one Python that an image with another takes."""

from __future__ import annotations

import re

from .conftest import ROOT

_ONLY_A_GPU_S = re.compile(r"(nvidia|cuda)-|(triton|bitsandbytes)$")


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    return dict(line.split(";")[0].strip().split("==") for line in lines if "==" in line)


def test_the_cpu_image_s_pins_are_right_for_its_python() -> None:
    """They are the tests', compiled for 3.11; those of the GPU image are compiled for the Python that both have."""
    tests, image = pins("transformers-cpu.txt"), pins("transformers-cuda.txt")
    assert tests.pop("torch") == image.pop("torch") + "+cpu"
    assert {name: version for name, version in image.items() if not _ONLY_A_GPU_S.match(name)} == tests
