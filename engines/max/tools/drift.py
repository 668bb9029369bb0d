"""Compare the committed flag snapshots with MAX's real parser: `drift.py [--write] [--python P | REQUIREMENT …]`.

Without a requirement the MAX of `.venv-max` (or of the Python given) is asked. A requirement such as
`max[serve]==26.6.0` is installed under `.build` (1.1 GB) and asked there. Exits with 1 where a snapshot is missing or
has drifted; `--write` refreshes it instead.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools"))

import engine_env  # noqa: E402
import flag_drift  # noqa: E402

SNAPSHOTS = ROOT / "engines" / "max" / "engineroom_max" / "flags"
DUMP = Path(__file__).with_name("dump_flags.py")


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("requirement", nargs="*", help="another MAX to ask, e.g. max[serve]==26.6.0")
    arguments.add_argument("--python", type=Path, default=ROOT / ".venv-max" / "bin" / "python")
    arguments.add_argument("--write", action="store_true", help="write the snapshot instead of comparing it")
    chosen = arguments.parse_args()
    pythons = [_installed(requirement) for requirement in chosen.requirement] or [chosen.python]
    if not all(python.exists() for python in pythons):
        print(f"{chosen.python} does not exist; engines/max/tools/make_env.py makes it", file=sys.stderr)
        return 1
    return min(1, sum(flag_drift.check("MAX", SNAPSHOTS, _dump(python), write=chosen.write) for python in pythons))


def _dump(python: Path) -> str:
    done = subprocess.run([python, DUMP], capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise SystemExit(f"{done.stderr[-4000:]}\ncannot ask {python}")
    return done.stdout


def _installed(requirement: str) -> Path:
    """The Python of an environment that has it."""
    folder = ROOT / ".build" / re.sub(r"[^\w.]+", "-", requirement)
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([engine_env.uv(), "venv", "--python", f"3.{max(sys.version_info[1], 11)}", folder], check=True)
        subprocess.run([engine_env.uv(), "pip", "install", "--python", python, requirement], check=True)
    return python


if __name__ == "__main__":
    sys.exit(main())
