"""On a GPU: what only a GPU can show. Run by whoever has one (README.md beside this folder); never claimed by CI."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from engineroom.errors import EngineStartError
from engineroom.testing import running
from engineroom_transformers import TransformersEngine

from .conftest import target_of
from .test_models import EMBEDDINGS, TEXTS, small_encoder

pytestmark = [pytest.mark.gpu, pytest.mark.real_transformers, pytest.mark.timeout(300)]

Configure = Callable[..., TransformersEngine]
ON_A_GPU: Any = {"DEVICE": "auto", "KV_CACHE_TOKENS": ""}
"""What a user has who sets nothing."""
QUESTION = {"messages": [{"role": "user", "content": "What is 2+2?"}], "max_tokens": 40}


@pytest.fixture(autouse=True)
def gpu() -> Any:
    """torch, where it can use a GPU."""
    torch = pytest.importorskip("torch", reason="no torch here")
    if not torch.cuda.is_available():
        pytest.skip("no GPU that torch can use")
    return torch


async def test_by_default_a_gpu_is_used_and_filled_as_far_as_is_said(configure: Configure, gpu: Any) -> None:
    free, _ = gpu.cuda.mem_get_info()
    async with running(configure(**ON_A_GPU, GPU_MEMORY_UTILIZATION="0.5")) as engine:
        assert engine._loaded is not None
        assert engine._loaded.model.device.type == "cuda"
        left, _ = gpu.cuda.mem_get_info()
        assert 0.4 < (free - left) / free < 0.6
        # In 30 layers of 3 heads of 64, a token's keys and values are 46,080 bytes in float32.
        facts = engine.pool_facts().cache_blocks
        assert facts is not None
        cache = facts.block_count * facts.block_tokens * 46_080
        assert 0.35 < cache / free < 0.55
    left, _ = gpu.cuda.mem_get_info()
    assert (free - left) / free < 0.05, "memory was not given back"


async def test_an_answer_is_the_one_of_the_model_by_itself(configure: Configure, gpu: Any) -> None:
    async with running(configure(**{**ON_A_GPU, "KV_CACHE_TOKENS": "8192"})) as engine:
        _, body = await target_of(engine).post("/v1/chat/completions", QUESTION)
        assert engine._loaded is not None
        model = engine._loaded.model
        prompt = engine.chat_prompt(QUESTION["messages"], {})
        with gpu.inference_mode():
            ids = gpu.tensor([prompt], device=model.device)
            # The batch's attention takes over the model that it runs; by itself it takes PyTorch's.
            model.set_attn_implementation("sdpa")
            whole = model.generate(ids, max_new_tokens=40, do_sample=False)
        alone = engine._loaded.tokenizer.decode(whole[0][len(prompt) :], skip_special_tokens=True)
    assert body["choices"][0]["message"]["content"] == alone


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
async def test_halves_say_the_same(configure: Configure, dtype: str) -> None:
    async with running(configure(**{**ON_A_GPU, "KV_CACHE_TOKENS": "8192"}, DTYPE=dtype)) as engine:
        _, body = await target_of(engine).post("/v1/completions", {"prompt": "1 2 3 4 5 6 7", "max_tokens": 6})
        assert body["choices"][0]["text"].startswith(" 8 9")


async def test_vectors_are_those_of_a_cpu(configure: Configure, tmp_path: Any) -> None:
    folder = str(small_encoder(tmp_path))
    vectors = []
    for device in ("cpu", "cuda"):
        async with running(configure(MODEL_NAME=folder, DEVICE=device, MAX_MODEL_LEN="")) as engine:
            _, body = await target_of(engine, fields={}).post(EMBEDDINGS, {"input": TEXTS})
            vectors.append([each["embedding"] for each in body["data"]])
    for on_cpu, on_gpu in zip(*vectors, strict=True):
        assert on_gpu == pytest.approx(on_cpu, abs=1e-4)


async def test_a_cache_beyond_the_gpu_is_refused_with_its_variable(configure: Configure) -> None:
    with pytest.raises(EngineStartError, match="KV_CACHE_TOKENS=100000000 needs"):
        await configure(DEVICE="auto", KV_CACHE_TOKENS="100000000").start()


async def test_a_gpu_that_is_not_there_is_refused_with_its_variable(configure: Configure) -> None:
    with pytest.raises(EngineStartError, match="DEVICE=cuda:99 is not there"):
        await configure(DEVICE="cuda:99").start()
