"""`make profile-http`: where the door's CPU goes, by sampling it from outside (py-spy), while it streams and while
requests arrive. Writes benchmarks/http/profile.md.

python profile_door.py [--every-layer] [16 200 requests]
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import uvloop
from hop import stream
from processes import cpu_seconds, machine
from proxies import EVERY_LAYER, MeasuredProxy, door
from source import RATE

HERE = Path(__file__).parent
SECONDS = 8
MOST_ROWS = 22
_IDLE = ("epoll_pwait", "epoll_wait", "poll (")
_OTHER_THREADS = ("_queue_SimpleQueue_get", "thread_run", "_worker (")
_SYSTEM_CALLS = ("write", "writev", "read", "recv", "send", "sendmsg")
_PYTHON = re.compile(r"\((\S+\.py):\d+\)")


class Samples:
    """What a process was found at: µs of work by the file, and by the function, of the innermost Python frame."""

    def __init__(self, stacks: list[str], us: float) -> None:
        self.by_file: Counter[str] = Counter()
        self.by_function: Counter[str] = Counter()
        self.total = 0
        self.us = us
        for stack in stacks:
            frames, _, count = stack.rpartition(" ")
            self._add(frames, int(count))

    def _add(self, frames: str, count: int) -> None:
        names = frames.split(";")
        if any(idle in names[-1] for idle in _IDLE) or any(thread in frames for thread in _OTHER_THREADS):
            return
        self.total += count
        function = next((name for name in reversed(names) if _PYTHON.search(name)), names[-1])
        where = _PYTHON.search(function)
        call = next((call for call in _SYSTEM_CALLS if names[-1].startswith(f"{call} ")), None)
        file = where[1] if where else "elsewhere"
        self.by_file[f"the system's {call}()" if call else file] += count
        self.by_function[re.sub(r":\d+\)", ")", function) + (f", the system's {call}()" if call else "")] += count

    def rows(self) -> list[str]:
        """Two tables."""
        rows = []
        for title, counter in (("file", self.by_file), ("function", self.by_function)):
            rows += ["", f"| µs | % | {title} |", "|---:|---:|---|"]
            for name, count in counter.most_common(MOST_ROWS):
                share = count / self.total
                rows.append(f"| {self.us * share:.1f} | {100 * share:.1f} | {name} |")
        return rows


async def profile(what: str, settings: Mapping[str, str]) -> list[str]:
    """Sample a door while it has `what`: a number of streams, or requests for one token."""
    with door(settings) as target, tempfile.NamedTemporaryFile() as file:
        assert target.pid is not None
        await stream(target, 16, 10)
        command = ["py-spy", "record", "--native", "--rate", "400", "--duration", str(SECONDS), "--format", "raw"]
        command += ["--output", file.name, "--pid", str(target.pid)]
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        sampler = await asyncio.create_subprocess_exec(*command, **silent)
        if what == "requests":
            us = await _requests(target)
            title = f"Requests for one token, 16 at a time: {us:.0f} µs of CPU a request"
        else:
            us = (await stream(target, int(what), RATE * (SECONDS + 2), RATE)).cpu_us
            title = f"{what} streams: {us:.1f} µs of CPU a token"
        await asyncio.wait_for(sampler.wait(), 60)
        samples = Samples(Path(file.name).read_text(encoding="utf-8").splitlines(), us)
    return ["", f"### {title} while sampled", "", f"{samples.total} samples of work.", *samples.rows()]


async def _requests(target: MeasuredProxy) -> float:
    assert target.pid is not None
    before = cpu_seconds(target.pid)
    end = time.monotonic() + SECONDS + 1
    count = 0
    while time.monotonic() < end:
        await stream(target, 16, 1)
        count += 16
    return 1e6 * (cpu_seconds(target.pid) - before) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", nargs="*", help="numbers of streams, and `requests`; all of 16, 200 and requests")
    parser.add_argument("--every-layer", action="store_true", help="with every layer; printed and not written")
    options = parser.parse_args()
    lines = [
        "# Where the HTTP door's CPU goes",
        "",
        f"`make profile-http`: the door with its defaults before the raw source of `make bench-http`, on {machine()}. "
        "Sampled 400 times a second from outside, which makes all of it dearer; a sample counts for the innermost "
        "Python frame, or for the system call that it is in. What a frame calls in C, such as uvloop's transport, "
        "counts for the frame, and what uvloop does by itself for `asyncio/runners.py`.",
    ]
    for what in options.what or ("16", "200", "requests"):
        rows = uvloop.run(profile(what, EVERY_LAYER if options.every_layer else {}))
        print("\n".join(rows), flush=True)
        lines += rows
    if not options.what and not options.every_layer:
        (HERE / "profile.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
