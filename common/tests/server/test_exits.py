"""A server process that ends: the reason that a person reads."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from standin.engine import StandinEngine

from engineroom.server import Cause, Diagnostics, ServerEngine


def test_an_exit_is_explained_by_its_error_and_what_is_known_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def explain(*log: str) -> str | None:
        return ServerEngine.explain_exit(StandinEngine(), 1, log)

    causes = (Cause(r"(?P<size>\d+ GB) is too large", "{MODEL_NAME} needs {size}: take a smaller one"),)
    monkeypatch.setattr(StandinEngine, "diagnostics", Diagnostics(causes=causes))
    assert explain("INFO: loading") is None
    assert explain("ValueError: 9 GB is too large", "INFO: bye") == "org/model needs 9 GB: take a smaller one"
    assert explain("INFO: 9 GB is too large", "a.b.OddError: the moon") == "a.b.OddError: the moon"
    assert "is gated" in (explain("huggingface_hub.errors.GatedRepoError: 403") or "")
    assert ServerEngine.explain_exit(StandinEngine(), -signal.SIGKILL, ["ValueError: 9 GB is too large"]) is None


def test_a_missing_command_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StandinEngine, "remedy", "install it")

    class Ended:
        returncode, not_found, tail = 127, True, ("/none: No such file or directory",)

    process: Any = Ended()
    reason = StandinEngine()._why_not_started(process)
    assert reason == "standin could not be started: /none: No such file or directory; install it"
