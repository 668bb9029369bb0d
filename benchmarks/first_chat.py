"""`make bench-first-chat`: from a fresh clone to the first answer of a real model, downloads included.

Clones the committed tree into a new folder and runs `make serve` there, as a newcomer would; pip's cache is not used.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[1]
QUESTION = {"messages": [{"role": "user", "content": "What is 2+2?"}], "max_tokens": 20, "temperature": 0}
LIMIT_S = 900


def ask(port: int) -> str | None:
    """The answer, or None while there is none."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions",
        json.dumps(QUESTION).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return str(json.load(answer)["choices"][0]["message"]["content"])
    except (urllib.error.URLError, ConnectionError):
        return None


def main() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "engineroom"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        began = time.monotonic()
        env = {**os.environ, "PORT": str(port), "PIP_NO_CACHE_DIR": "1"}
        server = subprocess.Popen(["make", "serve"], cwd=clone, env=env, start_new_session=True)
        try:
            while (answer := ask(port)) is None:
                if server.poll() is not None or time.monotonic() > began + LIMIT_S:
                    raise SystemExit("make serve did not get there")
                time.sleep(0.05)
            print(f"\nfirst answer {time.monotonic() - began:.1f} s after `git clone` was done: {answer!r}")
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)


if __name__ == "__main__":
    main()
