#!/usr/bin/env python3
"""Make .venv-kubernetes, which checks deploy/ without a cluster (0.4 GB), and fetch helm and kubectl."""

from __future__ import annotations

import sys
from pathlib import Path

import engine_env
import kubernetes_programs

FOLDER = engine_env.ROOT / ".venv-kubernetes"


def main() -> int:
    requirements = engine_env.ROOT / "requirements" / "kubernetes.txt"
    options = ["--no-deps", "--require-hashes"]
    python = f"3.{max(sys.version_info[1], 11)}"
    engine_env.make(FOLDER, python, requirements, *options, made_from=[Path(__file__)])
    return kubernetes_programs.fetch()


if __name__ == "__main__":
    sys.exit(main())
