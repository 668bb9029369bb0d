"""LoRA adapters: applied to every request until one turns them off, or to those that name them as their model."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from gguf_lora import write
from llamacpp_made import make

from engineroom.asgi import request
from engineroom.errors import SettingsError
from engineroom.pool_load import AdapterOccupancy
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
        changed = await _answer(adapted, ASKED)
        for prompts_are_kept in (False, True):
            asked = {**ASKED, "cache_prompt": prompts_are_kept}
            assert await _answer(adapted, asked) == changed
            assert await _answer(adapted, {**asked, "lora": [{"id": 0, "scale": 0.0}]}) == plain


async def test_adapters_of_a_folder_are_chosen_by_name(
    engine: LlamaCppEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The model itself answers as without them, also beside requests that have one."""
    plain = await _answer(engine, ASKED)
    write(tmp_path / "odd.gguf")
    (tmp_path / "strange").mkdir()
    write(tmp_path / "strange" / "adapter.gguf", weight=-9.0)
    (tmp_path / "notes.txt").write_text("")
    settings = {"LORA_DIR": str(tmp_path), "PARALLEL": 4, "OPENAI_SERVED_MODEL_NAME_OVERRIDE": "small"}
    with caplog.at_level("INFO"):
        adapted = make(**settings, EMBEDDINGS="true", POOLING="mean")
        async with running(adapted):
            odd = await _answer(adapted, {**ASKED, "model": "odd"})
            base, strange, streamed = await asyncio.gather(
                _answer(adapted, ASKED),
                _answer(adapted, {**ASKED, "model": "strange"}),
                _streamed(adapted, {**ASKED, "model": "odd"}),
            )
            assert base == plain
            assert plain not in (odd, strange)
            assert streamed == odd
            for name, expected in {"odd": odd, "strange": strange}.items():
                chosen = [{"id": adapted._adapters.ids[name], "scale": 1.0}]
                assert await _answer(adapted, {**ASKED, "lora": chosen}) == expected
            assert await _answer(adapted, {**ASKED, "model": "small"}) == plain

            # Nobody goes on from what another adapter has computed for the same prompt.
            answers = {"odd": odd, "strange": strange, "small": plain}
            asked = {**ASKED, "cache_prompt": True}
            for name in ("odd", "small", "strange", "small", "odd", "odd", "strange", "small"):
                assert await _answer(adapted, {**asked, "model": name}) == answers[name], name

            assert (await adapted.scrape()).load.adapters == AdapterOccupancy(2, ("odd", "strange"))
            for stream in (False, True):
                assert await _named(adapted, {**ASKED, "model": "odd", "stream": stream}) == {"odd"}

            _, listed = await _ask(adapted, "GET", "/v1/models", None)
            models = [(model["id"], model.get("parent")) for model in listed["data"]]
            assert models == [("small", None), ("odd", "small"), ("strange", "small")]
            assert str(tmp_path) not in msgspec.json.encode(listed).decode()

            for body, status, param in (
                ({**ASKED, "model": "missing"}, 404, "model"),
                ({**ASKED, "model": "odd", "lora": []}, 400, "lora"),
            ):
                refused, answer = await _ask(adapted, "POST", "/v1/chat/completions", body)
                assert (refused, answer["error"]["param"]) == (status, param)
            refused, answer = await _ask(adapted, "POST", "/v1/embeddings", {"model": "odd", "input": "x"})
            assert (refused, answer["error"]["param"]) == (400, "model")
    assert "adapters that clients may ask for by name: odd, strange" in caplog.text
    assert "notes.txt is no GGUF adapter, and is left out" in caplog.text


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"LORA_SOURCES": "acme/*"}, "llama.cpp loads adapters only when it starts"),
        ({"LORA_SOURCES": "acme/sql", "CACHE_RAM": "512"}, "cache of prompts mixes adapters up"),
        ({"LORA_DIR": "/no/such/folder"}, "there is no folder /no/such/folder"),
    ],
    ids=str,
)
def test_what_it_cannot_do_is_told(variables: dict[str, str], expected: str) -> None:
    with pytest.raises(SettingsError) as raised:
        make(**variables)
    assert expected in str(raised.value)


async def _named(engine: LlamaCppEngine, body: dict[str, Any]) -> set[str]:
    """The `model` of an answer, or of all events of a stream."""
    async with request(engine.app, "POST", "/v1/chat/completions", body=msgspec.json.encode(body)) as answer:
        lines = (await answer.read()).decode().splitlines()
    events = [line.removeprefix("data: ") for line in lines if line.startswith(("data: {", "{"))]
    return {msgspec.json.decode(event)["model"] for event in events}


async def _streamed(engine: LlamaCppEngine, body: dict[str, Any]) -> str:
    text = ""
    sent = msgspec.json.encode({**body, "stream": True})
    async with request(engine.app, "POST", "/v1/chat/completions", body=sent) as answer:
        for line in (await answer.read()).decode().splitlines():
            if line.startswith("data: {"):
                for choice in msgspec.json.decode(line.removeprefix("data: "))["choices"]:
                    text += choice["delta"].get("content") or ""
    return text


async def _ask(engine: LlamaCppEngine, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, Any]:
    sent = b"" if body is None else msgspec.json.encode(body)
    async with request(engine.app, method, path, body=sent) as answer:
        return answer.status, msgspec.json.decode(await answer.read())


async def _answer(engine: LlamaCppEngine, body: dict[str, Any]) -> str:
    async with request(engine.app, "POST", "/v1/chat/completions", body=msgspec.json.encode(body)) as answer:
        decoded = msgspec.json.decode(await answer.read())
        assert answer.status == 200, decoded
        text: str = decoded["choices"][0]["message"]["content"]
        return text
