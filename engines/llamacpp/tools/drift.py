"""Compare flags.json with the parser inside the installed xllamacpp: `drift.py [--write]`; 1 where it has drifted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SNAPSHOT = Path(__file__).parents[1] / "engineroom_llamacpp" / "flags.json"


def main() -> int:
    dump = Path(__file__).with_name("dump_flags.py")
    text = subprocess.run([sys.executable, str(dump)], capture_output=True, text=True, check=True, timeout=120).stdout
    if "--write" in sys.argv[1:]:
        SNAPSHOT.write_text(text, encoding="utf-8")
        return 0
    before, now = json.loads(SNAPSHOT.read_bytes()), json.loads(text)
    rows = [{row["name"]: row for row in table["flags"]} for table in (before, now)]
    drifted = sorted(name for name in rows[0].keys() | rows[1].keys() if rows[0].get(name) != rows[1].get(name))
    print(f"llama.cpp {now['version']}, snapshot {before['version']}: {len(rows[1])} flags, {len(drifted)} differ")
    print(*(f"  {name}: {rows[0].get(name)} -> {rows[1].get(name)}\n" for name in drifted), sep="", end="")
    return int(before != now)


if __name__ == "__main__":
    sys.exit(main())
