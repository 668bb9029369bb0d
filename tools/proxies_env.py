#!/usr/bin/env python3
"""Make `.venv-proxies`: the proxies of others that `make bench-http` compares the HTTP door with. 0.6 GB."""

from __future__ import annotations

import sys

import engine_env

ROOT = engine_env.ROOT


def main() -> int:
    python = f"3.{max(sys.version_info[1], 11)}"
    requirements = ROOT / "requirements" / "proxies.txt"
    return engine_env.make(ROOT / ".venv-proxies", python, requirements, "--no-deps", "--require-hashes")


if __name__ == "__main__":
    sys.exit(main())
