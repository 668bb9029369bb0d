"""A server process that ends: the reason that a person reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from standin.engine import StandinEngine

from engineroom.server import ServerEngine


def test_an_exit_is_explained_by_its_last_error_and_what_is_known_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def explain(*log: str) -> str | None:
        return ServerEngine.explain_exit(StandinEngine(), 1, log)

    monkeypatch.setattr(StandinEngine, "advice", {"too large": "take a smaller one"})
    assert explain("INFO: loading", "started") is None
    assert explain("ValueError: first", "a.b.OddError: the last", "  at x") == "a.b.OddError: the last"
    assert explain("ValueError: it is too large") == "take a smaller one (ValueError: it is too large)"
    assert "is gated" in (explain("huggingface_hub.errors.GatedRepoError: 403") or "")


def test_a_missing_command_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StandinEngine, "remedy", "install it")

    class Ended:
        returncode, not_found, tail = 127, True, ("/none: No such file or directory",)

    process: Any = Ended()
    reason = StandinEngine()._why(process)
    assert reason == "standin could not be started: /none: No such file or directory; install it"
