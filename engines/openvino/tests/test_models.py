"""Models of other kinds: OpenVINO's own format, encoders, files that are damaged, devices that are not there."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engineroom.errors import EngineStartError
from engineroom.testing import running
from engineroom_openvino import OpenVINOEngine

from .conftest import packaged_model, target_of

pytestmark = [pytest.mark.real_openvino, pytest.mark.timeout(180)]

COUNT = {"prompt": "1 2 3 4 5 6 7", "max_tokens": 6}
Configure = Callable[..., OpenVINOEngine]


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model in OpenVINO's own format, which its reader of GGUF files writes beside them."""
    import openvino_genai

    folder = tmp_path_factory.mktemp("graphs")
    model = packaged_model()
    assert model is not None
    (folder / "small.gguf").symlink_to(model)
    openvino_genai.LLMPipeline(str(folder / "small.gguf"), "CPU", enable_save_ov_model=True)
    (folder / "small.gguf").unlink()
    return folder


def encoder(folder: Path, graphs: Path, mode: str) -> list[list[float]]:
    """A model that looks each token up in a table, with the small model's tokeniser; the table."""
    import numpy
    import openvino
    from openvino import opset13 as ops

    for file in graphs.glob("openvino_*tokenizer.*"):
        shutil.copy(file, folder)
    table = numpy.random.default_rng(0).standard_normal((49152, 4)).astype(numpy.float32)
    ids = ops.parameter([-1, -1], numpy.int64, name="input_ids")
    mask = ops.parameter([-1, -1], numpy.int64, name="attention_mask")
    states = ops.gather(ops.constant(table), ids, ops.constant(0))
    states = ops.multiply(states, ops.unsqueeze(ops.convert(mask, "f32"), ops.constant(2)))
    for parameter, name in ((ids, "input_ids"), (mask, "attention_mask")):
        parameter.output(0).get_tensor().set_names({name})
    openvino.save_model(openvino.Model([states], [ids, mask]), folder / "openvino_model.xml", compress_to_fp16=False)
    (folder / "config.json").write_text(json.dumps({"architectures": ["BertModel"], "max_position_embeddings": 64}))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{mode}": True}))
    rows: list[list[float]] = table.tolist()
    return rows


async def test_a_model_in_openvino_s_own_format_is_served(configure: Configure, graphs: Path) -> None:
    (graphs / "config.json").write_text(
        json.dumps({"architectures": ["LlamaForCausalLM"], "max_position_embeddings": 99})
    )
    async with running(configure(MODEL_NAME=graphs)) as engine:
        target = target_of(engine, max_model_len=99)
        assert engine.max_model_len == 99
        status, body = await target.post("/v1/completions", COUNT)
        assert (status, body["choices"][0]["text"][:4]) == (200, " 8 9")
        status, _ = await target.post("/v1/embeddings", {"input": "x"})
        assert status == 404


@pytest.mark.parametrize("mode", ["mean_tokens", "cls_token", "lasttoken"])
async def test_an_encoder_s_vectors_are_pooled_as_its_files_say(
    configure: Configure, graphs: Path, tmp_path: Path, mode: str
) -> None:
    table = encoder(tmp_path, graphs, mode)
    async with running(configure(MODEL_NAME=tmp_path)) as engine:
        target = target_of(engine, fields={})
        texts = ["a cat sat", "one two three four five", "cat"]
        status, body = await target.post("/v1/embeddings", {"input": texts})
        assert status == 200, body
        for text, entry in zip(texts, body["data"], strict=True):
            states = [table[token] for token in engine.tokenize(text)]
            mean = [sum(column) / len(states) for column in zip(*states, strict=True)]
            pooled = {"mean_tokens": mean, "cls_token": states[0], "lasttoken": states[-1]}[mode]
            length = sum(value**2 for value in pooled) ** 0.5
            assert entry["embedding"] == pytest.approx([value / length for value in pooled], abs=0.02)
        status, body = await target.post("/v1/embeddings", {"input": "cat " * 200})
        assert (status, body["error"]["code"]) == (400, "context_length_exceeded")
        assert (await target.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]}))[0] == 404


async def test_a_folder_with_a_gguf_file_is_that_file(configure: Configure, tmp_path: Path) -> None:
    model = packaged_model()
    assert model is not None
    (tmp_path / "small.gguf").symlink_to(model)
    async with running(configure(MODEL_NAME=tmp_path, OPENAI_SERVED_MODEL_NAME_OVERRIDE="")) as engine:
        status, body = await target_of(engine).post("/v1/completions", COUNT)
        assert (status, body["choices"][0]["text"][:4]) == (200, " 8 9")


async def test_an_encoder_with_another_pooling_is_refused(configure: Configure, graphs: Path, tmp_path: Path) -> None:
    encoder(tmp_path, graphs, "weightedmean_tokens")
    await fails(configure(MODEL_NAME=tmp_path), "weightedmean")


async def test_an_encoder_whose_vectors_another_layer_makes_is_refused(
    configure: Configure, graphs: Path, tmp_path: Path
) -> None:
    encoder(tmp_path, graphs, "mean_tokens")
    names = ("Transformer", "Pooling", "Dense", "Normalize")
    (tmp_path / "modules.json").write_text(json.dumps([{"type": f"sentence_transformers.models.{n}"} for n in names]))
    await fails(configure(MODEL_NAME=tmp_path), "Dense")


async def fails(engine: OpenVINOEngine, words: str) -> None:
    with pytest.raises(EngineStartError, match=words) as failed:
        await engine.start()
    await engine.stop()
    assert "Traceback" not in str(failed.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"DEVICE": "GPU"}, r"DEVICE=GPU (?:is not there: OpenVINO has CPU|needs OpenCL)"),
        ({"DEVICE": "gpu.7"}, r"DEVICE=GPU.7 (?:is not there: OpenVINO has CPU|needs OpenCL)"),
        ({"PLUGIN_CONFIG": json.dumps({"ZORK": 1})}, "ZORK"),
        ({"PLUGIN_CONFIG": json.dumps({"KV_CACHE_PRECISION": "zork"})}, "KV_CACHE_PRECISION"),
    ],
    ids=str,
)
async def test_a_start_that_fails_says_why(configure: Configure, settings: dict[str, Any], words: str) -> None:
    await fails(configure(**settings), words)


@pytest.mark.parametrize("size", [10, 108, 200_000])
async def test_a_file_that_is_cut_short_is_no_end_of_the_worker(
    configure: Configure, tmp_path: Path, size: int
) -> None:
    model = packaged_model()
    assert model is not None
    with model.open("rb") as file:
        (tmp_path / "cut.gguf").write_bytes(file.read(size))
    await fails(configure(MODEL_NAME=tmp_path / "cut.gguf"), "damaged|cut short")


@pytest.fixture(scope="module")
async def small_cache(anyio_backend: str, configure: Configure) -> Any:
    """A cache that holds less than what is asked for at a time."""
    engine = configure(KV_CACHE_TOKENS=160, MAX_MODEL_LEN="", MAX_NUM_SEQS=6, MAX_NUM_BATCHED_TOKENS=32)
    async with running(engine) as engine:
        yield target_of(engine, max_model_len=160)


async def test_a_full_cache_makes_requests_wait_and_changes_none(small_cache: Any) -> None:
    asked = {"prompt": "1 2 3 4 5 6 7", "max_tokens": 40, "ignore_eos": True}
    _, alone = await small_cache.post("/v1/completions", asked)
    together = await asyncio.gather(*(small_cache.post("/v1/completions", asked) for _ in range(6)))
    assert {status for status, _ in together} == {200}
    assert {body["choices"][0]["text"] for _, body in together} == {alone["choices"][0]["text"]}


async def test_the_cache_bounds_a_request(small_cache: Any) -> None:
    status, body = await small_cache.post("/v1/completions", {"prompt": "one two " * 300, "max_tokens": 4})
    assert (status, body["error"]["code"]) == (400, "context_length_exceeded")
    asked = {"prompt": "One", "max_tokens": 9999, "ignore_eos": True}
    status, body = await small_cache.post("/v1/completions", asked)
    assert (status, body["usage"]["total_tokens"]) == (200, 160)
    assert body["choices"][0]["finish_reason"] == "length"
