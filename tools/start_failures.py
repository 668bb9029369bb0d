"""Record why real engines fail to start: what engines' `tools/record_start_failures.py` call.

Each attempt is a start that has to fail. What the engine's process wrote and its exit code go into one file, with the
settings of the start at its head, and with the paths of this machine replaced. The tests of diagnostics read them.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from engineroom.engine import Engine

ROOT = Path(__file__).resolve().parents[1]

_SOURCE_LINE = re.compile(r"(?:\(.*? pid=\d+\) )?(?:ERROR \S+ \S+ \[[^\]]+\] )?    (?!For further)")
"""A line of source in a traceback, which says nothing and is half of a recording."""

_LIMITS = {"STOP_TIMEOUT": "2", "START_TIMEOUT": "120", "ENGINE_LOGS": "false"}

Preparation: TypeAlias = Callable[[Path], Mapping[str, str]]
"""Makes an attempt's files in a folder; returns its settings. Those that begin with `$` are the process's own."""


def main(engine: str, version: str, attempts: Mapping[str, Preparation], logs: Path) -> int:
    """Record the attempts that the command line names, all of them by default.

    Args:
        version: what was run, for the head of each file.
        logs: the folder of the recordings.
    """
    parser = argparse.ArgumentParser(description=f"Record why {engine} fails to start.")
    parser.add_argument("names", nargs="*", choices=[[], *attempts], metavar="NAME", help=", ".join(attempts))
    names = parser.parse_args().names or list(attempts)
    logs.mkdir(exist_ok=True)
    for name in names:
        with tempfile.TemporaryDirectory(prefix="start-failure-") as folder:
            place = Path(folder)
            given = dict(attempts[name](place))
            print(name, end=": ", flush=True)
            own = {key: given.pop(key) for key in list(given) if key.startswith("$")}
            for key, value in own.items():
                os.environ[key[1:]] = value
                if not value:
                    del os.environ[key[1:]]
            began = time.monotonic()
            lines, code, sentence = asyncio.run(
                _fail({"ENGINE": engine, "STOP_TIMEOUT": "2", "START_TIMEOUT": "120", **given})
            )
            print(f"{time.monotonic() - began:.1f} s, exit code {code}: {sentence}", flush=True)
            if code is not None or lines:
                head = {"recorded": version, "exit": code, "settings": given}
                heading = [f"# {key}: {json.dumps(value)}" for key, value in head.items()]
                text = "\n".join([*heading, *(line for line in lines if not _SOURCE_LINE.match(line))])
                (logs / f"{name}.txt").write_text(_anonymous(text, place) + "\n")
    return 0


def preparations(names: Mapping[str, Any]) -> dict[str, Preparation]:
    """The attempts of a recorder: the public functions that its module defines itself."""
    module = names["__name__"]
    return {
        name: value
        for name, value in names.items()
        if not name.startswith("_") and inspect.isfunction(value) and value.__module__ == module
    }


def version(python: Path, distribution: str) -> str:
    """What another Python has of a distribution, e.g. `vllm 0.32.0+cpu`."""
    code = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"
    done = subprocess.run([python, "-c", code, distribution], capture_output=True, text=True, check=True)
    return f"{distribution} {done.stdout.strip()}"


def copied(place: Path) -> Path:
    """The small model in a folder of its own; its weights are links."""
    folder = place / "model"
    folder.mkdir()
    for file in (ROOT / ".build" / "SmolLM2-135M-Instruct").iterdir():
        if file.suffix == ".safetensors":
            (folder / file.name).symlink_to(file)
        else:
            shutil.copy(file, folder)
    return folder


def edited(place: Path, **config: Any) -> Path:
    """The small model with other values in its `config.json`."""
    folder = copied(place)
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_bytes()), **config}))
    return folder


def truncate(file: Path, size: int) -> None:
    """Leave the first `size` bytes of what a link points to."""
    replace(file, file.read_bytes()[:size])


def replace(file: Path, content: bytes) -> None:
    """Put a file with that content in the place of a file or a link."""
    file.unlink()
    file.write_bytes(content)


async def _fail(settings: Mapping[str, str]) -> tuple[Sequence[str], int | None, str]:
    """The process's lines, its exit code (None where there was no process), and today's sentence."""
    from engineroom import plugins
    from engineroom.errors import EngineroomError
    from engineroom.settings import Environment

    try:
        engine: Engine = plugins.open_engine(Environment.of(settings))
    except EngineroomError as error:
        return (), None, f"refused by the settings: {error}"
    try:
        await engine.start()
    except EngineroomError as error:
        process = getattr(engine, "_process", None)
        if process is not None:
            return getattr(error, "log", ()), process.returncode, str(error)
        if error.__cause__ is None:
            return (), None, str(error)
        # An engine in this process: what Python would have written.
        lines = "".join(traceback.format_exception(error.__cause__)).rstrip().split("\n")
        return lines, 1, str(error)
    finally:
        await engine.stop()
    return (), None, "it started"


def _anonymous(text: str, place: Path) -> str:
    """The text with the paths of this machine replaced."""
    text = text.replace(str(place), "/models").replace(sys.prefix, "/venv")
    environments = {path.resolve().parent for path in ROOT.glob(".venv*")}  # They may be links.
    for checkout in (ROOT, *environments):
        text = text.replace(str(checkout), "/engineroom")
    text = re.sub(r"/engineroom/\.venv[\w-]*", "/venv", text)
    text = re.sub(r"/(?:root|home/\w+)/(?:\.pyenv/versions/[\d.]+|\.local/share/uv/python/[\w.-]+)", "/usr", text)
    text = re.sub(r"/tmp/engineroom-\w+", "/tmp/engineroom", text)
    return re.sub(r"/(?:root|home/\w+)/", "/home/user/", text)
