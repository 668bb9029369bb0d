"""Can this build run on this machine? GPU, driver and Paddle against what the build was made for.

Source: FastDeploy's installation page for NVIDIA GPUs through its history (docs/get_started/installation).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engineroom.errors import EngineStartError
from engineroom.hardware import Device, gpus

OLDEST_DRIVER = 535
PADDLE = {(2, 3): (3, 2), (2, 4): (3, 3), (2, 5): (3, 3), (2, 6): (3, 3)}
"""The Paddle release series that each FastDeploy is compiled against."""


def built_for(version: tuple[int, int]) -> tuple[str, ...]:
    """The compute capabilities that the official images carry; before 2.5 other wheels had 86 and 89."""
    return ("80", "86", "89", "90") if version >= (2, 5) else ("80", "90")


def devices(environ: Mapping[str, str]) -> list[Device]:
    """The GPUs that FastDeploy will see. Raises EngineStartError where there is none."""
    try:
        return gpus.devices(environ)
    except EngineStartError as error:
        raise EngineStartError(
            f"{error}. FastDeploy needs one; set FASTDEPLOY_CHECKS=false for other hardware"
        ) from error


def carried(version: tuple[int, int], environ: Mapping[str, str]) -> tuple[str, ...]:
    """The compute capabilities of the build: those that the image we run in names, else the official image's."""
    image = gpus.image(environ)
    return image.sm if image is not None else built_for(version)


def check(version: tuple[int, int], paddle: str | None, carried: Sequence[str], visible: Sequence[Device]) -> None:
    """Raises EngineStartError, with what to use instead, where the build cannot run here.

    Args:
        paddle: the version of Paddle beside it, None where unknown.
        carried: the compute capabilities that the build was compiled for.
    """
    running = ".".join(map(str, version))
    for device in visible:
        if device.sm not in carried:
            raise EngineStartError(
                f"{device.name} has compute capability {device.sm}, and this FastDeploy {running} was built for "
                f"{', '.join(carried)}: {_instead(device.sm)}"
            )
        if device.driver < OLDEST_DRIVER:
            raise EngineStartError(
                f"the NVIDIA driver is {device.driver}; FastDeploy {running} needs {OLDEST_DRIVER} or newer: choose a "
                "host with CUDA 12.3 or newer, or update its driver"
            )
    wanted = PADDLE.get(version)
    if paddle and wanted and not paddle.startswith(f"{wanted[0]}.{wanted[1]}."):
        raise EngineStartError(
            f"Paddle {paddle} is installed beside FastDeploy {running}, which is compiled against "
            f"{wanted[0]}.{wanted[1]}: install paddlepaddle-gpu {wanted[0]}.{wanted[1]}.x or use the official image"
        )


def _instead(sm: str) -> str:
    if sm in ("86", "89"):
        return (
            "use FastDeploy 2.5 or newer, whose builds carry 80, 86, 89 and 90, or install the fastdeploy-gpu wheel "
            "for 86/89 and set FASTDEPLOY_SM=86,89"
        )
    if sm in ("80", "90"):
        return "use the official image, or a GPU of those capabilities"
    return "no release is built for it; use an A100, A10, RTX 4090, L4, L40S or H100, or another engine"
