"""Where the door's CPU goes while it streams: `python profile.py [STREAMS]`, by sampling it from outside (py-spy)."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import uvloop
from hop import MESSAGES
from processes import ENGINEROOM, free_port, running, until
from rounds import ChatServer

HERE = Path(__file__).parent
SECONDS = 8


def sample(pid: int, file: str) -> subprocess.Popen[bytes]:
    command = ["py-spy", "record", "--native", "--rate", "250", "--duration", str(SECONDS), "--format", "raw"]
    return subprocess.Popen(
        [*command, "--output", file, "--pid", str(pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def main(streams: int) -> None:
    port = free_port()
    env = {"ENGINE": "source", "PYTHONPATH": str(HERE / "plugin"), "LOG_LEVEL": "WARNING", "PORT": str(port)}
    with running([ENGINEROOM, "serve"], env) as door, tempfile.NamedTemporaryFile() as file:
        until(f"http://127.0.0.1:{port}/ping")
        sampler = sample(door.pid, file.name)
        body = {"model": "source", "messages": MESSAGES, "max_tokens": 50 * (SECONDS + 2), "rate": 50}
        result = uvloop.run(ChatServer(port).round([body] * streams, door.pid))
        sampler.wait(30)
        stacks = Path(file.name).read_text(encoding="utf-8").splitlines()
    own, within, total = Counter[str](), Counter[str](), 0
    for stack in stacks:
        frames, _, count = stack.rpartition(" ")
        names = [frame.rpartition(":")[0] if frame[-1:].isdigit() else frame for frame in frames.split(";")]
        own[names[-1]] += int(count)
        within.update({name: int(count) for name in set(names)})
        total += int(count)
    print(f"{streams} streams, {result.cpu_us:.1f} µs of CPU a token while sampled; {total} samples\n")
    for title, counter in (("in itself", own), ("with what it calls", within)):
        print(f"| % {title} | function |\n|---|---|")
        for name, count in counter.most_common(22):
            print(f"| {100 * count / total:.1f} | `{name}` |")
        print()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 16)
