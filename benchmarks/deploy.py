"""From `engineroom deploy` to a first chat, on the emulated platform: `make bench-deploy` prints the seconds.

Each command line is a process as a user starts it: it reads the settings, plans against the management API, creates a
template and a pod or an endpoint, waits, and ends with the answer. The workers are real processes of this machine; what
the emulator cannot show is how long RunPod takes to find a GPU and to pull an image.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

COMMAND = str(Path(sys.executable).with_name("engineroom"))
KINDS = ("queue", "load-balancer", "pod")
ENGINES = {"echo": "no model", "llamacpp": "its own small model, on a CPU"}
PORT = 8199
LIMIT_S = 120


@contextmanager
def emulator(folder: Path) -> Iterator[str]:
    """The emulated platform; its URL."""
    with (folder / "emulator.log").open("w") as log:
        process = subprocess.Popen([COMMAND, "emulate", "--port", str(PORT)], stdout=log, stderr=log, cwd=folder)
        try:
            while "endpoint" not in (folder / "emulator.log").read_text():
                assert process.poll() is None, (folder / "emulator.log").read_text()
                time.sleep(0.05)
            yield f"http://127.0.0.1:{PORT}"
        finally:
            process.terminate()
            process.wait(60)


def deploy(url: str, folder: Path, engine: str, kind: str) -> float:
    """Seconds from the command's start to its end, which the first answer is."""
    environ = {
        **os.environ,
        "RUNPOD_API_URL": url,
        "RUNPOD_API_KEY": "any",
        "RUNPOD_PROXY_URL": f"{url}/proxy/{{id}}/{{port}}",
    }
    name = f"{engine}-{kind}"
    image = f"ghcr.io/me/engineroom:1-{engine}-1-cpu"
    words = ["--engine", engine, "--image", image, "--cpu", "cpu3c", "--name", name, "--kind", kind]
    began = time.perf_counter()
    done = subprocess.run(
        [COMMAND, "deploy", *words, "--yes", "--wait"],
        env=environ,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    seconds = time.perf_counter() - began
    assert done.returncode == 0, done.stdout + done.stderr
    subprocess.run(
        [COMMAND, "deployments", "delete", name, "--yes"], env=environ, cwd=folder, capture_output=True, check=True
    )
    return seconds


def main() -> None:
    table = Table(title="Seconds from `engineroom deploy --wait` to the first answer, on the emulated platform")
    for column in ("engine", "model", *KINDS):
        table.add_column(column)
    with tempfile.TemporaryDirectory() as temporary, emulator(Path(temporary)) as url:
        for engine, about in ENGINES.items():
            seconds = [deploy(url, Path(temporary), engine, kind) for kind in KINDS]
            table.add_row(engine, about, *(f"{each:.1f}" for each in seconds))
    Console().print(table)


if __name__ == "__main__":
    main()
