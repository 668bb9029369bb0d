"""Which GPUs this machine gives us, and whether the image we run in is the right one for them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import EngineStartError
from .images import Image, Matrix

VARIABLE = "ENGINEROOM_IMAGE"
"""Names the image's own row of the matrix; set in every image."""

MATRIX = Path(sys.prefix) / "matrix.json"
"""The copy of the matrix in an image, in the worker's own environment."""


_WHOLE = re.compile(r"(\d+|GPU-[\w-]+)(,(\d+|GPU-[\w-]+))*")
"""What CUDA_VISIBLE_DEVICES may hold that `nvidia-smi` can be asked for; a slice of a GPU (MIG) is not."""


class Device(NamedTuple):
    """One GPU. sm: its compute capability without the point, `89` for 8.9. driver: its driver's major version."""

    name: str
    sm: str
    driver: int


def query(fields: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """The command that tells these fields of the GPUs that CUDA would see, one a line, as CSV without units."""
    visible = environ.get("CUDA_VISIBLE_DEVICES", "")
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    return command + ([f"--id={visible}"] if _WHOLE.fullmatch(visible) else [])


def devices(environ: Mapping[str, str]) -> list[Device]:
    """The GPUs that CUDA would see, by `nvidia-smi`.

    Raises:
        EngineStartError: there is none, or no driver.
    """
    try:
        told = subprocess.run(
            query(("name", "compute_cap", "driver_version"), environ),
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
        rows = [line.rsplit(",", 2) for line in told.stdout.splitlines() if line.strip()]
        return [Device(name.strip(), sm.strip().replace(".", ""), int(d.strip().split(".")[0])) for name, sm, d in rows]
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise EngineStartError(
            f"no NVIDIA GPU can be found ({error}): give the container its GPUs (`--gpus all`), or take a CPU image"
        ) from error


def image(environ: Mapping[str, str], matrix: Path = MATRIX) -> Image | None:
    """The image that this process runs in; None outside of one, and where ENGINEROOM_IMAGE was emptied.

    Raises:
        MatrixError: it names no row.
    """
    name = environ.get(VARIABLE)
    return Matrix.load(matrix).named(name) if name else None


def check_machine(environ: Mapping[str, str], matrix: Path = MATRIX) -> None:
    """Compare this machine's GPUs and driver with the image; outside an image, and in one for CPUs, do nothing.

    Raises:
        EngineStartError: it cannot run here; the text says which image can.
    """
    carried = image(environ, matrix)
    if carried is not None and carried.cuda is not None:
        check(carried, devices(environ), Matrix.load(matrix))


def check(carried: Image, found: Sequence[Device], matrix: Matrix) -> None:
    """Raise EngineStartError for the first GPU that the image does not run on."""
    for device in found:
        if device.sm not in carried.sm:
            raise EngineStartError(
                f"{device.name} has compute capability {device.sm}, but the image {carried.name} is for "
                f"{', '.join(carried.sm)}: {_instead(device, carried, matrix)}"
            )
        if carried.driver is not None and device.driver < carried.driver:
            raise EngineStartError(
                f"the NVIDIA driver is {device.driver}, but the image {carried.name} (CUDA {carried.cuda}) needs "
                f"{carried.driver} or newer: {_instead(device, carried, matrix)}"
            )


def _instead(device: Device, carried: Image, matrix: Matrix) -> str:
    """Which images would run on this device, those of the same engine if there are any."""
    fit = [row for row in matrix.rows if device.sm in row.sm and device.driver >= (row.driver or 0)]
    same = [row for row in fit if row.engine == carried.engine]
    names = " or ".join(row.name for row in same or fit)
    use = f"use the image {names}" if names else "none of the images runs on this machine; choose another GPU or driver"
    return f"{use} (to start it anyway, set {VARIABLE} to nothing)"
