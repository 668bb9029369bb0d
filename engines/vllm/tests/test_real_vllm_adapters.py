"""LoRA adapters by name on real vLLM on a CPU: a worker of its own over the vLLM that runs already, with one slot."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from real_engine import MODEL, opened

from engineroom.settings import Environment
from engineroom.testing import Target, engine_target, running
from engineroom.testing.target import Expectations
from engineroom_vllm.engine import VLLMEngine
from engineroom_vllm.surface import UNLOAD_ADAPTER

from .conftest import PYTHON

pytestmark = [pytest.mark.real_vllm, pytest.mark.timeout(600)]

ANSWER = "The capital of"
"""The beginning of it: adapters that make no sense have near-ties, which fall either way a few tokens later."""
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
GREEDY = {"messages": QUESTION, "temperature": 0, "max_tokens": 3}


@pytest.fixture(scope="module")
def loras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two adapters, one of a rank that is too high, one for another model, and one whose weights are damaged."""
    folder = tmp_path_factory.mktemp("loras")
    maker = str(Path(__file__).with_name("make_adapter.py"))
    larger = folder.with_name("larger")
    larger.mkdir()
    config = json.loads((MODEL / "config.json").read_text())
    (larger / "config.json").write_text(json.dumps({**config, "hidden_size": 2 * config["hidden_size"]}))
    for model, wanted in {MODEL: ["left:8:1", "right:8:2", "wide:64:3"], larger: ["other:8:4"]}.items():
        command = [str(PYTHON), maker, str(model), *(f"{folder}/{each}" for each in wanted)]
        subprocess.run(command, check=True, timeout=120, capture_output=True)
    shutil.copytree(folder / "left", folder / "damaged")
    (folder / "damaged" / "adapter_model.safetensors").write_bytes(b"\0" * 100)
    return folder


@pytest.fixture(scope="module")
async def worker(over_real_vllm: dict[str, str], loras: Path, anyio_backend: str) -> AsyncIterator[VLLMEngine]:
    settings = {**over_real_vllm, "LORA_DIR": str(loras), "MAX_LORAS": "1", "VLLM_ALLOW_RUNTIME_LORA_UPDATING": ""}
    async with running(opened(VLLMEngine, Environment.of(settings))) as engine:
        yield engine
        # A worker's vLLM ends with it, but this one serves other tests, which list what it has.
        assert engine.lora is not None
        for name in engine.lora.pool.loaded:
            await engine.tell(UNLOAD_ADAPTER, {"lora_name": name})


@pytest.fixture
def target(worker: VLLMEngine) -> Target:
    return engine_target(worker, Expectations(max_model_len=2048))


async def answer(target: Target, model: str, **fields: object) -> str:
    status, body = await target.post("/v1/chat/completions", {"model": model, **GREEDY, **fields})
    assert status == 200, body
    text: str = body["choices"][0]["message"]["content"]
    return text


async def test_each_answers_by_its_name_and_the_model_as_without_them(target: Target, worker: VLLMEngine) -> None:
    """Also where all are asked at the same time, with room for one.

    The model itself is asked alone: vLLM's CPU build gives requests for it that it computes together with an adapter's
    the weights of its last slot (`lora_indices_tensor` is -1 there, which Python takes for the last).
    """
    left = await answer(target, "left")
    right = await answer(target, "right")
    assert len({ANSWER, left, right}) == 3
    models = ["left", "right", "left", "right", "right", "left"]
    expected = {"left": left, "right": right}
    answers = await asyncio.gather(*(answer(target, model) for model in models))
    assert answers == [expected[model] for model in models]
    assert [await answer(target, name) for name in ("smol", "alias")] == [ANSWER, ANSWER]
    assert worker.lora is not None
    assert len(worker.lora.pool.loaded) == 1


async def test_what_vllm_refuses_fails_its_own_requests_with_the_cause(target: Target) -> None:
    causes = {
        "wide": "its rank is 64, and this server takes up to 16 (MAX_LORA_RANK)",
        "other": "it was made for a model of another size",
        "damaged": "its weights are damaged",
    }
    for name, cause in causes.items():
        status, body = await target.post("/v1/chat/completions", {"model": name, **GREEDY})
        assert (status, body.get("error", {}).get("code")) == (400, "adapter_not_loadable"), (name, body)
        assert cause in body["error"]["message"]
        assert "/" not in body["error"]["message"].replace("/v1", ""), "no path of this machine"
    assert await answer(target, "smol") == ANSWER


async def test_all_are_listed_with_their_model(target: Target) -> None:
    await answer(target, "left")
    _, listed = await target.get("/v1/models")
    models = [(model["id"], model["root"], model["parent"]) for model in listed["data"]]
    adapters = [(name, name, "smol") for name in ("damaged", "left", "other", "right", "wide")]
    assert models[2:] == adapters
    assert [name for name, _, _ in models[:2]] == ["smol", "alias"]


async def test_other_surfaces_take_them_too(target: Target) -> None:
    left = await answer(target, "left")
    _, response = await target.post(
        "/v1/responses", {"model": "left", "input": GREEDY["messages"], "temperature": 0, "max_output_tokens": 3}
    )
    assert response["output"][-1]["content"][0]["text"] == left
    _, message = await target.post("/v1/messages", {"model": "left", **GREEDY})
    assert message["content"][0]["text"] == left
    status, missing = await target.post("/v1/messages", {"model": "missing", **GREEDY})
    assert (status, missing["type"]) == (404, "error")


async def test_an_adapter_that_is_trained_anew_answers_anew(
    target: Target, loras: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though vLLM keeps what it has computed with the old one under the same name."""
    monkeypatch.setattr("engineroom.adapters.sources._LOOK_S", 0.0)
    before = await answer(target, "left")
    right = await answer(target, "right")
    kept = (loras / "left" / "adapter_model.safetensors").read_bytes()
    shutil.copy(loras / "right" / "adapter_model.safetensors", loras / "left" / "adapter_model.safetensors")
    try:
        assert await answer(target, "left") == right != before
    finally:
        (loras / "left" / "adapter_model.safetensors").write_bytes(kept)
    assert await answer(target, "left") == before
