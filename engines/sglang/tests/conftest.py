"""Engines over a command that stands in for a Python with SGLang."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from real_engine import opened, script

from engineroom.asgi import request
from engineroom.settings import Environment
from engineroom_sglang import SGLangEngine

STANDIN = Path(__file__).with_name("standin_sglang.py")
MODEL = "org/model"
CHAT = "/v1/chat/completions"

Configure = Callable[..., SGLangEngine]


def settings(folder: Path, version: str = "0.5.23", **variables: str) -> dict[str, str]:
    """What a user sets for a worker over the stand-in."""
    versions = f'{{"sglang": "{version}"}}' if version else "{}"
    text = f'[ "$1" = -c ] && echo \'{versions}\' || exec {sys.executable} {STANDIN} "$@"'
    python = script(folder / f"python-{version or 'none'}", text)
    own = {"ENGINE": "sglang", "MODEL_NAME": MODEL, "SGLANG_PYTHON": python, "TOOL_CALL_PARSER": "auto"}
    more = {"BASE_PATH": str(folder / "no-volume"), "CONTEXT_LENGTH": "2048"}
    return {**own, **more, "START_TIMEOUT": "60", "STOP_TIMEOUT": "5", **variables}


@contextmanager
def configured(folder: Path) -> Iterator[Configure]:
    """Makes engines over the stand-in, on a machine that hides no GPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        patch.delenv("NVIDIA_VISIBLE_DEVICES", raising=False)
        yield lambda **variables: opened(SGLangEngine, Environment.of(settings(folder, **variables)))


@pytest.fixture
def configure(tmp_path: Path) -> Iterator[Configure]:
    with configured(tmp_path) as configure:
        yield configure


async def ask(engine: SGLangEngine, path: str = CHAT, **body: object) -> tuple[int, Any]:
    """The status and the answer; a chat says "x" unless the body has other messages."""
    content = {CHAT: {"messages": [{"role": "user", "content": "x"}]}}.get(path, {})
    async with request(engine.app, "POST", path, body=msgspec.json.encode({**content, **body})) as answer:
        text = await answer.read()
        return answer.status, text.decode() if body.get("stream") else msgspec.json.decode(text)


async def sent(engine: SGLangEngine, path: str = CHAT, **body: object) -> dict[str, Any]:
    """What reached the stand-in of a request."""
    status, answer = await ask(engine, path, **body)
    assert status == 200, answer
    return dict(msgspec.json.decode(await engine.upstream.text("/standin"))["asked"][-1])
