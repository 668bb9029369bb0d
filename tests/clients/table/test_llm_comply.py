"""llm-comply, which holds answers against the APIs' specifications: https://pypi.org/project/llm-comply/."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from client_cases import JudgedServer
from client_engines import ENGINES

PROGRAM = Path(sys.executable).with_name("llm-comply")
ANTHROPIC = ["--auth-header", "x-api-key", "--no-bearer", "--header", "anthropic-version:2023-06-01"]
FORMATS = {"openai-chat": "chat", "open-responses": "Responses", "anthropic": "Messages"}
WITH = ("echo", "llamacpp")
WITHOUT_MODEL = "a request without `model` is answered: a worker has one"
TEXT_ONLY = "the small model takes no images, which is a 400"
CUT_OFF = "the small model's answer ran into its limit, so its status is `incomplete`"
NO_MODEL_NAME = "skipped by the tool itself, which goes by the model's name"
EXPLAINED = {
    "chat-error-handling": WITHOUT_MODEL,
    "error-handling": WITHOUT_MODEL,
    "chat-image-input": TEXT_ONLY,
    "image-input": TEXT_ONLY,
    "anth-image-input": TEXT_ONLY,
    "chat-reasoning-summary": NO_MODEL_NAME,
    "reasoning-summary": NO_MODEL_NAME,
    "anth-thinking-display": NO_MODEL_NAME,
}
"""Checks that need not pass, and why."""


@pytest.mark.parametrize("format_", FORMATS)
def test_llm_comply(server: JudgedServer, format_: str, record_property: Any) -> None:
    if server.engine not in WITH:
        pytest.skip(f"its requests have no limit of tokens: it is run with {' and '.join(WITH)}")
    if not PROGRAM.exists():
        pytest.skip("the other clients are not installed here; `make clients` does that")
    command = [str(PROGRAM), "--format", format_, "--base-url", server.openai_url, "--api-key", "any", "--json"]
    command += ["--model", server.model, *(ANTHROPIC if format_ == "anthropic" else ())]
    run = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    results = json.loads(run.stdout)["results"]
    others = {check["id"]: check for check in results if check["status"] != "passed"}
    explained = {name: EXPLAINED.get(name) or _cut_off(check) for name, check in others.items()}
    reasons = sorted({reason for reason in explained.values() if reason})
    passed = f"{len(results) - len(others)} of {len(results)}"
    record_property("comply", "|".join([FORMATS[format_], server.engine, passed, "; ".join(reasons)]))
    unexplained = {name: check for name, check in others.items() if not explained[name]}
    assert not unexplained
    if ENGINES[server.engine].echoes:
        assert not [name for name in others if name.endswith("image-input")], "echo acknowledges images"


def _cut_off(check: dict[str, Any]) -> str | None:
    """The reason where nothing else is wrong than that an answer is not complete."""
    errors = check.get("errors") or [""]
    return CUT_OFF if all("expected status='completed', got 'incomplete'" in error for error in errors) else None
