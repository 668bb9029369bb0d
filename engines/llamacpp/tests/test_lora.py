"""A LoRA adapter is applied, and a request may turn it off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from gguf_lora import write
from llamacpp_made import make

from engineroom.asgi import request
from engineroom.testing import running
from engineroom_llamacpp import LlamaCppEngine

ASKED = {
    "messages": [{"role": "user", "content": "What is 2+2?"}],
    "max_tokens": 8,
    "temperature": 0,
    "cache_prompt": False,
}


async def test_an_adapter_is_applied_and_can_be_turned_off(engine: LlamaCppEngine, tmp_path: Path) -> None:
    plain = await _answer(engine, ASKED)
    async with running(make(LORA=str(write(tmp_path / "lora.gguf")), PARALLEL=2)) as adapted:
        assert await _answer(adapted, ASKED) != plain
        assert await _answer(adapted, {**ASKED, "lora": [{"id": 0, "scale": 0.0}]}) == plain


async def _answer(engine: LlamaCppEngine, body: dict[str, Any]) -> str:
    async with request(engine.app, "POST", "/v1/chat/completions", body=msgspec.json.encode(body)) as answer:
        decoded = msgspec.json.decode(await answer.read())
        assert answer.status == 200, decoded
        text: str = decoded["choices"][0]["message"]["content"]
        return text
