"""The GPUs of this machine, and whether the image that the worker runs in suits them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import EngineStartError
from .images import Image, Matrix

VARIABLE = "ENGINEROOM_IMAGE"
"""The variable that names the image's own row of the matrix; every image sets it."""

MATRIX = Path(sys.prefix) / "matrix.json"
"""The copy of the matrix in an image, in the worker's own environment."""

_NO_SLICE = re.compile(r"(\d+|GPU-[\w-]+)(,(\d+|GPU-[\w-]+))*")
"""CUDA_VISIBLE_DEVICES as `nvidia-smi --id` takes it; it does not take slices of GPUs (MIG)."""


_NAMES_DEVICE = re.compile(r"\d+|GPU-[\w-]+|MIG-[\w/-]+")
"""An entry of CUDA_VISIBLE_DEVICES for a GPU or a slice of one."""


class Device(NamedTuple):
    """One GPU.

    sm: its compute capability without the point, `89` for 8.9.
    driver: its driver's major version.
    """

    name: str
    sm: str
    driver: int


def nvidia_smi(fields: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """The command that prints these fields of the GPUs that CUDA sees, a GPU a line, as CSV without units."""
    visible = environ.get("CUDA_VISIBLE_DEVICES", "")
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    if _NO_SLICE.fullmatch(visible):
        command.append(f"--id={visible}")
    return command


def count(environ: Mapping[str, str], devices: Path = Path("/dev")) -> int:
    """How many NVIDIA GPUs this process may use, without starting CUDA; 0 where there is none.

    CUDA_VISIBLE_DEVICES counts first: CUDA stops reading it at the first entry that names no device. A container has
    a device file for each GPU that it was given, whatever the machine has; `nvidia-smi` is asked only where there is no
    such file although there is a driver (WSL).
    """
    for variable in ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"):
        visible = environ.get(variable)
        if visible is not None and visible not in ("", "all", "void"):
            entries = [entry.strip() for entry in visible.split(",")]
            return sum(1 for _ in takewhile(_NAMES_DEVICE.fullmatch, entries))
    files = [file for file in devices.glob("nvidia*") if re.fullmatch(r"nvidia\d+", file.name)]
    if files or not Path("/dev/dxg").exists():
        return len(files)
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in listed.splitlines())


def tensor_parallel(environ: Mapping[str, str], flags: Mapping[str, Any]) -> int:
    """Over how many GPUs a layer is split where all GPUs are used; 0 where there is none.

    Args:
        flags: parsed ones by name; `nnodes` machines like this one are shared by `data_parallel_size` replicas of
            `pipeline_parallel_size` stages each, all 1 by default.
    """
    stages = flags.get("pipeline_parallel_size", 1) * flags.get("data_parallel_size", 1)
    return int(count(environ) * flags.get("nnodes", 1) // max(stages, 1))


def devices(environ: Mapping[str, str]) -> list[Device]:
    """The GPUs that CUDA sees, from `nvidia-smi`.

    Raises:
        EngineStartError: there is no GPU, or no driver.
    """
    try:
        output = subprocess.run(
            nvidia_smi(("name", "compute_cap", "driver_version"), environ),
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        ).stdout
        return [_device(line) for line in output.splitlines() if line.strip()]
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise EngineStartError(
            f"no NVIDIA GPU can be found ({error}): give the container its GPUs (`--gpus all`), or take a CPU image"
        ) from error


def _device(line: str) -> Device:
    # A name may have a comma; the other fields have none.
    name, capability, driver = (field.strip() for field in line.rsplit(",", 2))
    return Device(name, capability.replace(".", ""), int(driver.split(".")[0]))


def image(environ: Mapping[str, str], matrix: Path = MATRIX) -> Image | None:
    """The image that this process runs in; None outside an image, and if ENGINEROOM_IMAGE is empty.

    Raises:
        MatrixError: ENGINEROOM_IMAGE names no row.
    """
    name = environ.get(VARIABLE)
    return Matrix.load(matrix).named(name) if name else None


def check_machine(environ: Mapping[str, str], matrix: Path = MATRIX) -> None:
    """Compare this machine's GPUs and driver with the image. Outside an image, and in one for CPUs, do nothing.

    Raises:
        EngineStartError: the image cannot run here; the text names an image that can.
        MatrixError: ENGINEROOM_IMAGE names no row.
    """
    own_image = image(environ, matrix)
    if own_image is not None and own_image.cuda is not None:
        check(own_image, devices(environ), Matrix.load(matrix))


def check(own_image: Image, gpus: Sequence[Device], matrix: Matrix) -> None:
    """Raise EngineStartError for the first GPU that the image does not run on."""
    for gpu in gpus:
        if gpu.sm not in own_image.sm:
            raise EngineStartError(
                f"{gpu.name} has compute capability {gpu.sm}, but the image {own_image.name} is for "
                f"{', '.join(own_image.sm)}: {_advice(gpu, own_image, matrix)}"
            )
        if own_image.driver is not None and gpu.driver < own_image.driver:
            raise EngineStartError(
                f"the NVIDIA driver is {gpu.driver}, but the image {own_image.name} (CUDA {own_image.cuda}) needs "
                f"{own_image.driver} or newer: {_advice(gpu, own_image, matrix)}"
            )


def _advice(gpu: Device, own_image: Image, matrix: Matrix) -> str:
    """Which images run on this GPU: those of the same engine if there are any, else those of others."""
    suitable = [row for row in matrix.rows if gpu.sm in row.sm and gpu.driver >= (row.driver or 0)]
    same_engine = [row for row in suitable if row.engine == own_image.engine]
    names = " or ".join(row.name for row in same_engine or suitable)
    if names:
        advice = f"use the image {names}"
    else:
        advice = "none of the images runs on this machine; choose another GPU or driver"
    return f"{advice} (to start it anyway, set {VARIABLE} to nothing)"
