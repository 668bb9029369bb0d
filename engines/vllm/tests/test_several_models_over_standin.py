"""Several models on one worker over stand-ins for `vllm serve`: one sleeps while another serves, with adapters."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engineroom import plugins
from engineroom.asgi import request
from engineroom.engine import RunningEngine
from engineroom.process import descendants
from engineroom.settings import Environment
from engineroom.testing import running

CHAT = "/v1/chat/completions"


def servers() -> list[int]:
    """The stand-ins that run below this process."""
    return [pid for pid in descendants(os.getpid()) if b"standin_vllm.py\0-m" in _command(pid)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


async def ask(engine: RunningEngine, model: str) -> tuple[int, Any]:
    body = msgspec.json.encode({"model": model, "messages": [{"role": "user", "content": "x"}]})
    async with request(engine.app, "POST", CHAT, body=body) as answer:
        return answer.status, msgspec.json.decode(await answer.read())


async def test_one_sleeps_while_another_serves_and_adapters_are_its_models(
    standin_python: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (tmp_path / "loras" / "sql").mkdir(parents=True)
    (tmp_path / "loras" / "sql" / "adapter_config.json").write_text('{"r": 8}')
    own = {"engine": "vllm", "memory": "600 MB", "enable_sleep_mode": True, "load_format": "dummy"}
    models = [
        {**own, "name": "one", "model": "org/one", "lora_dir": str(tmp_path / "loras")},
        {**own, "name": "two", "model": "org/two"},
    ]
    variables = {"MODELS": json.dumps(models), "MODELS_MEMORY_GB": "1", "VLLM_PYTHON": standin_python("0.32.0")}
    engine = plugins.open_engine(Environment.of({**variables, "BASE_PATH": str(tmp_path / "none")}))
    async with running(engine):
        for model in ("one", "sql"):
            status, answer = await ask(engine, model)
            assert status == 200, answer
        first = servers()
        assert len(first) == 1, "an adapter needs no other model"
        for model in ("two", "sql", "one", "two"):
            status, answer = await ask(engine, model)
            assert status == 200, answer
            assert json.loads(answer["choices"][0]["message"]["content"])["model"] == model
        assert len(servers()) == 2, "each has been started once, and woken since"
        assert set(first) <= set(servers())
        resident = {model.name: model.phase for model in engine.residents()}  # type: ignore[attr-defined]
        assert resident == {"one": "absent", "two": "resident"}

        async with request(engine.app, "GET", "/v1/models") as answer:
            listed = msgspec.json.decode(await answer.read())["data"]
        assert [(model["id"], model.get("parent")) for model in listed] == [
            ("one", None),
            ("sql", "one"),
            ("two", None),
        ]
        status, answer = await ask(engine, "missing")
        assert (status, answer["error"]["code"]) == (404, "model_not_found")

        # One that dies while it sleeps is started anew.
        for pid in first:
            os.kill(pid, 9)
        status, answer = await ask(engine, "sql")
        assert status == 200, answer
    assert not servers(), "nor is anything left of what slept"
