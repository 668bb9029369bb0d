"""Real engines that serve the small model out of an environment of their own, and commands that stand in for theirs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from engineroom.engine import Engine
from engineroom.plugins import open_engine
from engineroom.settings import Environment

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / ".build" / "SmolLM2-135M-Instruct"

AnyEngine = TypeVar("AnyEngine", bound=Engine)


@dataclass(frozen=True)
class RealEngine:
    """An engine that is installed on this machine, or not.

    program: what is there where it is installed.
    remedy: how it gets there.
    settings: those of a worker with the small model, under the names `smol` and `alias`.
    """

    program: Path
    remedy: str
    settings: Mapping[str, str]

    def environment(self, **more: str) -> Environment:
        """Its settings, and `more` beside or in place of them; skips where this machine does not have it."""
        if not self.program.exists() or not (MODEL / "config.json").exists():
            pytest.skip(self.remedy)
        return Environment.of({**self.settings, **more})


def opened(kind: type[AnyEngine], env: Environment) -> AnyEngine:
    """The configured engine; aliases, defaults and the check of names as in a real start."""
    engine = open_engine(env)
    assert isinstance(engine, kind)
    return engine


def script(path: Path, text: str) -> str:
    """A shell script at that path, to run in place of a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)
