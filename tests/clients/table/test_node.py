"""OpenAI's and Anthropic's clients for Node, and the AI SDK."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client_cases import BRIEF, LIMIT, PARAMETERS, QUESTION, WANTS_CITY, WANTS_WEATHER, WEATHER, City, JudgedServer

FOLDER = Path(__file__).parents[1] / "node"
PACKAGES = {"openai (Node)": "openai", "anthropic (Node)": "@anthropic-ai/sdk", "AI SDK": "ai"}
ASKED = {
    "question": QUESTION,
    "wantsCity": WANTS_CITY,
    "wantsWeather": WANTS_WEATHER,
    "weather": WEATHER,
    "limit": LIMIT,
    "brief": BRIEF,
    "citySchema": City.model_json_schema() | {"additionalProperties": False},
    "toolParameters": PARAMETERS,
}
TEXTS = ("whole", "streamed", "stream helper", "generateText", "streamText")
CUT_OFF = {"Responses": "incomplete: max_output_tokens", "Messages": "max_tokens"}


def places() -> Iterator[tuple[str, str, str]]:
    """The checks of judge.mjs: client, surface and case."""
    tools = ("tools", "tools streamed")
    yield from (("openai (Node)", "chat", case) for case in (*TEXTS[:3], "structured output", *tools))
    yield from (("openai (Node)", "Responses", case) for case in (*TEXTS[:3], "cut off", "structured output", *tools))
    messages = ("whole", "stream helper", "cut off", "structured output", *tools)
    yield from (("anthropic (Node)", "Messages", case) for case in messages)
    for surface in ("Responses", "chat", "Messages"):
        cases = ("generateText", "streamText", "generateObject", "streamObject", *tools)
        yield from (("AI SDK", surface, case) for case in cases)


class RefusedError(Exception):
    """What a client for Node raised."""

    def __init__(self, message: str, status_code: int | None) -> None:
        super().__init__(message)
        self.status_code = status_code


@pytest.fixture(scope="session")
def results(server: JudgedServer) -> dict[str, Any]:
    """What came of each check of judge.mjs with one server."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node here")
    if not (FOLDER / "node_modules").exists():
        pytest.skip("the clients for Node are not installed here; `make clients` does that")
    command = [node, "judge.mjs", server.url, server.model, json.dumps(ASKED)]
    run = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=1500, check=False)
    assert run.returncode == 0, run.stderr
    checks = [json.loads(line) for line in run.stdout.splitlines() if line.startswith('{"name":')]
    return {check["name"]: check for check in checks}


@pytest.mark.timeout(1600)  # The first of them waits for all checks.
@pytest.mark.parametrize(("client", "surface", "case"), list(places()))
def test_node(
    client: str, surface: str, case: str, server: JudgedServer, results: dict[str, Any], record_property: Any
) -> None:
    record_property("version", f"{client}|{pinned(PACKAGES[client])}")
    check = results["|".join((client, surface, case))]
    if "error" in check:
        raise RefusedError(check["error"], check["status"])
    value = check["value"]
    if case in TEXTS:
        server.check_text(value)
    elif case == "cut off":
        assert value == CUT_OFF[surface]
    elif case.startswith("tools"):
        server.check_arguments(value["input"])
        server.check_text(value["text"], WEATHER)
    else:
        City.model_validate(value)


def test_every_check_is_looked_at(results: dict[str, Any]) -> None:
    assert list(results) == ["|".join(place) for place in places()]


def test_the_lock_file_names_no_index() -> None:
    lock = (FOLDER / "package-lock.json").read_text(encoding="utf-8")
    assert '"integrity"' in lock
    assert '"resolved"' not in lock


def pinned(package: str) -> str:
    """The version of a package that is installed."""
    listed = json.loads((FOLDER / "package.json").read_text(encoding="utf-8"))["dependencies"]
    return str(listed[package])
