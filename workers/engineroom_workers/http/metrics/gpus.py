"""The GPUs that are ours: how busy, how full, how warm, by `nvidia-smi`."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from typing import NamedTuple

from engineroom.engine import Metric, exposition
from engineroom.hardware import nvidia_smi
from engineroom.timeouts import timeout

_MAX_AGE_S = 5
"""A reading is good for so long: `nvidia-smi` costs a tenth of a second of somebody's processor."""
_TIMEOUT_S = 5
_FIELDS = ("index", "name", "utilization.gpu", "memory.used", "memory.total", "temperature.gpu", "power.draw")


class _GPUGauge(NamedTuple):
    name: str
    description: str
    scale: float


_GAUGES = (
    _GPUGauge("utilisation_ratio", "Share of time in which the GPU was busy, 0 to 1.", 0.01),
    _GPUGauge("memory_used_bytes", "GPU memory in use.", 1024 * 1024),
    _GPUGauge("memory_total_bytes", "Total GPU memory.", 1024 * 1024),
    _GPUGauge("temperature_celsius", "The GPU's temperature.", 1),
    _GPUGauge("power_watts", "Power that the GPU draws.", 1),
)


class GPUs:
    """Reads them when somebody looks; on a machine without `nvidia-smi` there are none."""

    def __init__(self) -> None:
        self._installed = shutil.which("nvidia-smi") is not None
        self._reading: list[dict[str, str | float]] = []
        self._until = 0.0
        self._lock = asyncio.Lock()

    async def read(self) -> list[dict[str, str | float]]:
        """Each GPU: `index`, `name`, and the gauges that it has."""
        if not self._installed:
            return []
        async with self._lock:
            if time.monotonic() >= self._until:
                self._reading = parse(await _run_nvidia_smi())
                self._until = time.monotonic() + _MAX_AGE_S
        return self._reading

    async def text(self) -> str:
        """The same in Prometheus' text format."""
        gpus = await self.read()
        if not gpus:
            return ""
        return exposition(
            Metric(
                f"engineroom_gpu_{gauge.name}",
                "gauge",
                gauge.description,
                {f'gpu="{gpu["index"]}"': float(gpu[gauge.name]) for gpu in gpus if gauge.name in gpu},
            )
            for gauge in _GAUGES
        )


async def _run_nvidia_smi() -> str:
    """What `nvidia-smi` says; nothing where it fails or hangs, as it does when a GPU has fallen off the bus."""
    process = await asyncio.create_subprocess_exec(
        *nvidia_smi(_FIELDS, os.environ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with timeout(_TIMEOUT_S):
            output, _ = await process.communicate()
    except asyncio.TimeoutError:
        return ""
    finally:
        if process.returncode is None:  # Also where nobody waits for it any more.
            process.kill()
            await process.wait()
    return output.decode("utf-8", "replace") if process.returncode == 0 else ""


def parse(csv: str) -> list[dict[str, str | float]]:
    """The GPUs in `nvidia-smi`'s CSV; what a GPU does not have (`[N/A]`) is left out."""
    gpus = []
    for line in csv.splitlines():
        index, name, *values = (part.strip() for part in line.split(","))
        gpu: dict[str, str | float] = {"index": index, "name": name}
        for gauge, value in zip(_GAUGES, values, strict=False):
            try:
                gpu[gauge.name] = round(float(value) * gauge.scale, 4)
            except ValueError:
                continue
        gpus.append(gpu)
    return gpus
