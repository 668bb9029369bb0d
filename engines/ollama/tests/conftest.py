"""Engines over a command that stands in for Ollama's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from real_engine import opened, script

from engineroom.asgi import request
from engineroom.settings import Environment
from engineroom_ollama import OllamaEngine

STANDIN = Path(__file__).with_name("standin_ollama.py")
MODEL = "llama3.2:1b"
CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"

Configure = Callable[..., OllamaEngine]


def settings(folder: Path, **variables: str) -> dict[str, str]:
    """What a user sets for a worker over the stand-in, whose models are in that folder."""
    # It generates itself, so the watchdog is to look at its use of the processor as at a runner's.
    command = script(folder / "ollama", f'exec {sys.executable} {STANDIN} "$@" as-llama-server')
    own = {"ENGINE": "ollama", "MODEL_NAME": MODEL, "OLLAMA_COMMAND": command, "OLLAMA_MODELS": str(folder / "models")}
    return {**own, "START_TIMEOUT": "60", "STOP_TIMEOUT": "5", **variables}


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    return lambda **variables: opened(OllamaEngine, Environment.of(settings(tmp_path, **variables)))


async def ask(engine: OllamaEngine, path: str = CHAT, **body: object) -> tuple[int, Any]:
    """The status and the answer; a chat says "x" unless the body has other messages."""
    content = {CHAT: {"messages": [{"role": "user", "content": "x"}]}, COMPLETIONS: {"prompt": "x"}}.get(path, {})
    async with request(engine.app, "POST", path, body=msgspec.json.encode({**content, **body})) as answer:
        text = await answer.read()
        return answer.status, text.decode() if body.get("stream") else msgspec.json.decode(text)


async def standin(engine: OllamaEngine) -> dict[str, Any]:
    """What the stand-in has seen."""
    return dict(msgspec.json.decode(await engine.upstream.text("/standin")))


async def sent(engine: OllamaEngine, path: str = CHAT, **body: object) -> dict[str, Any]:
    """What reached Ollama of a request."""
    status, answer = await ask(engine, path, **body)
    assert status == 200, answer
    return dict((await standin(engine))["asked"][-1])
