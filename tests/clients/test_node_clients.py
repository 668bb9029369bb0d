"""OpenAI's and Anthropic's clients for Node, and the AI SDK, over the HTTP door."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).with_name("node")
INSTALLED = HERE / "node_modules"
TEXT = "Привет, one two"
SURFACES = ("responses", "chat", "messages")
EXPECTED = {
    "openai: chat.completions.stream": TEXT,
    "openai: responses.create": TEXT,
    "openai: responses.stream": TEXT,
    "openai: responses.stream, cut off": "incomplete: max_output_tokens",
    "anthropic: messages.create": TEXT,
    "anthropic: messages.stream": TEXT,
    "anthropic: messages.stream, cut off": "max_tokens",
    **{f"ai: streamText, {surface}": TEXT for surface in SURFACES},
    **{f"ai: generateText, {surface}": TEXT for surface in SURFACES},
    **{f"ai: generateObject, {surface}": "Zürich" for surface in SURFACES},
    **{f"ai: a tool and its result, {surface}": "2 steps, 1 call" for surface in SURFACES},
}


@pytest.fixture(scope="module")
def results(url: str) -> dict[str, Any]:
    """What each check of judge.mjs gave."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node here")
    if not INSTALLED.exists():
        pytest.skip("the clients for Node are not installed here; `make clients` installs them")
    command = [node, "judge.mjs", url, "echo", TEXT]
    run = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    checks = [json.loads(line) for line in run.stdout.splitlines() if line.startswith('{"name":')]
    return {check["name"]: check.get("value", check.get("error")) for check in checks}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_client_gets_what_it_asked_for(name: str, results: dict[str, Any]) -> None:
    assert results[name] == EXPECTED[name]


def test_every_check_is_looked_at(results: dict[str, Any]) -> None:
    assert results.keys() == EXPECTED.keys()


def test_the_lock_file_names_no_index() -> None:
    lock = (HERE / "package-lock.json").read_text(encoding="utf-8")
    assert '"integrity"' in lock
    assert '"resolved"' not in lock
