"""How many GPUs this process may use, without importing torch or starting CUDA."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path


def count(environ: Mapping[str, str], devices: Path = Path("/dev")) -> int:
    """The number of NVIDIA GPUs; 0 where there is none.

    CUDA_VISIBLE_DEVICES counts first: CUDA stops reading it at the first entry that is no device. A container has
    a device file for each GPU it was given, whatever the machine has; `nvidia-smi` is asked only where there is no
    such file although a driver is there (WSL).
    """
    for variable in ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"):
        listed = environ.get(variable)
        if listed is not None and listed not in ("", "all", "void"):
            return _listed(listed)
    files = sum(1 for file in devices.glob("nvidia*") if re.fullmatch(r"nvidia\d+", file.name))
    return files or _asked()


def _listed(value: str) -> int:
    entries = [entry.strip() for entry in value.split(",")]
    valid = [bool(re.fullmatch(r"\d+|GPU-[\w-]+|MIG-[\w/-]+", entry)) for entry in entries]
    return valid.index(False) if False in valid else len(valid)


def _asked() -> int:
    if not Path("/dev/dxg").exists():
        return 0
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines())
