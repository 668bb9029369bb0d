"""Where the door's CPU goes while it streams: `python profile.py [STREAMS]`, by sampling it from outside (py-spy)."""

from __future__ import annotations

import re
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
_IDLE = ("epoll_pwait", "epoll_wait", "poll (")
_OTHER_THREADS = ("_queue_SimpleQueue_get", "thread_run", "_worker (")
_SYSTEM_CALLS = ("write", "writev", "read", "recv", "send", "sendmsg")
_PYTHON = re.compile(r"\((\S+\.py):\d+\)")


def sample(pid: int, file: str) -> subprocess.Popen[bytes]:
    command = ["py-spy", "record", "--native", "--rate", "400", "--duration", str(SECONDS), "--format", "raw"]
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
    by_file, by_function, total = Counter[str](), Counter[str](), 0
    for stack in stacks:
        frames, _, count = stack.rpartition(" ")
        names = frames.split(";")
        if any(idle in names[-1] for idle in _IDLE) or any(thread in frames for thread in _OTHER_THREADS):
            continue
        total += int(count)
        function = next((name for name in reversed(names) if _PYTHON.search(name)), names[-1])
        where = _PYTHON.search(function)
        call = next((call for call in _SYSTEM_CALLS if names[-1].startswith(f"{call} ")), None)
        by_file[f"system call {call}" if call else (where[1] if where else "elsewhere")] += int(count)
        by_function[re.sub(r":\d+\)", ")", function) + (f": {call}" if call else "")] += int(count)
    print(f"{streams} streams, {result.cpu_us:.1f} µs of CPU a token while sampled; {total} samples of work\n")
    for title, counter in (("file", by_file), ("function", by_function)):
        print(f"| µs a token | % | the {title} of the innermost Python frame, or the system call |\n|---:|---:|---|")
        for name, count in counter.most_common(24):
            print(f"| {result.cpu_us * count / total:.1f} | {100 * count / total:.1f} | `{name}` |")
        print()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 16)
