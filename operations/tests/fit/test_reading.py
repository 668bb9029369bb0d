"""Models from the hub, from folders and GGUF files: what is fetched of them, and what goes wrong."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from known_models import LLAMA_8B, MODELS
from model_headers import BYTES, gguf, safetensors
from standin_hub import StandinHub, standin_hub

from engineroom.models import HubError, ModelChoiceError
from engineroom_operations.fit import ModelReadingError, read_model

EIGHT_B = {
    "general.architecture": "qwen3",
    "qwen3.block_count": 36,
    "qwen3.context_length": 40960,
    "qwen3.embedding_length": 4096,
    "qwen3.feed_forward_length": 12288,
    "qwen3.attention.head_count": 32,
    "qwen3.attention.head_count_kv": 8,
    "qwen3.attention.key_length": 128,
    "qwen3.attention.value_length": 128,
}
CONFIG = json.dumps({**LLAMA_8B, "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": False}).encode()
LAYER = {
    "model.layers.0.self_attn.q_proj.weight": ("BF16", [4096, 4096]),
    "model.layers.0.mlp.up_proj.weight": ("BF16", [14336, 4096]),
}
HEADS = {
    "model.embed_tokens.weight": ("BF16", [128256, 4096]),
    "lm_head.weight": ("BF16", [128256, 4096]),
    "model.norm.weight": ("F32", [4096]),
}
INDEX = json.dumps({"weight_map": {**dict.fromkeys(LAYER, "a.safetensors"), **dict.fromkeys(HEADS, "b.safetensors")}})


def sharded(config: bytes = CONFIG) -> dict[str, bytes]:
    return {
        "config.json": config,
        "model.safetensors.index.json": INDEX.encode(),
        "a.safetensors": safetensors(LAYER),
        "b.safetensors": safetensors(HEADS),
        "consolidated.safetensors": b"the same weights in another layout",
        "original/model.safetensors": b"and once more",
    }


@pytest.fixture(scope="module")
def hub() -> Iterator[StandinHub]:
    repositories = {
        "org/Sharded": sharded(),
        "org/Tied": sharded(json.dumps({**LLAMA_8B, "tie_word_embeddings": True}).encode()),
        "org/Pickled": {"config.json": CONFIG, "pytorch_model.bin": b"x" * 1000, "training_args.bin": b"x" * 9},
        "org/Quants": {
            "Q-8B-Q4_K_M.gguf": gguf(EIGHT_B),
            "Q-8B-Q8_0.gguf": gguf(EIGHT_B) + b"\0" * 4096,
        },
        "org/Images": {
            "config.json": b'{"_class_name": "UNet", "sample_size": 64}',
            "a.safetensors": safetensors(LAYER),
        },
        "org/Nothing": {"README.md": b"hello"},
        "org/Broken": {"config.json": b"{", "model.safetensors": safetensors(LAYER)},
        "org/Incomplete": {k: v for k, v in sharded().items() if k != "b.safetensors"},
    }
    with standin_hub(repositories=repositories) as running:
        yield running


@pytest.fixture
def environ(hub: StandinHub, tmp_path: Path) -> dict[str, str]:
    return {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path)}


def test_of_a_sharded_repository_the_headers_are_enough(hub: StandinHub, environ: dict[str, str]) -> None:
    read = read_model("org/Sharded", environ=environ)
    expected = (4096 * 4096 + 14336 * 4096 + 2 * 128256 * 4096 + 4096) * 2
    assert read.weights.total_bytes == expected
    assert read.architecture.context_tokens == 131072
    assert not any("original" in path or "consolidated" in path for path, _ in hub.asked)
    assert not list(Path(environ["HF_HOME"]).rglob("*")), "nothing is kept"


def test_a_revision_and_an_address_are_taken(environ: dict[str, str]) -> None:
    plain = read_model("org/Sharded", environ=environ)
    assert read_model(f"{environ['HF_ENDPOINT']}/org/Sharded", environ=environ).weights == plain.weights
    assert read_model("org/Sharded", "main", environ=environ).weights == plain.weights
    with pytest.raises(HubError, match="no such branch"):
        read_model("org/Sharded", "nowhere", environ=environ)


def test_a_tied_output_matrix_is_counted_once(environ: dict[str, str]) -> None:
    untied = read_model("org/Sharded", environ=environ).weights.total_bytes
    assert untied - read_model("org/Tied", environ=environ).weights.total_bytes == 128256 * 4096 * 2


def test_quantisation_while_loading_spares_embeddings(environ: dict[str, str]) -> None:
    plain = read_model("org/Sharded", environ=environ).weights
    quantised = read_model("org/Sharded", at_load="fp8", environ=environ).weights
    assert plain.total_bytes - quantised.total_bytes == 4096 * 4096 + 14336 * 4096
    assert quantised.quantisation == "fp8"


def test_pickled_weights_count_as_their_files_do(environ: dict[str, str]) -> None:
    read = read_model("org/Pickled", environ=environ)
    assert (read.format, read.weights.total_bytes) == ("pytorch", 1000)
    assert "pickled" in read.note


@pytest.mark.parametrize(("wanted", "extra"), [("", 0), (":Q8_0", 4096)])
def test_of_gguf_the_head_is_enough(wanted: str, extra: int, hub: StandinHub, environ: dict[str, str]) -> None:
    read = read_model(f"org/Quants{wanted}", environ=environ)
    assert read.format == "gguf"
    assert read.weights.total_bytes == len(gguf(EIGHT_B)) + extra
    assert read.weights.quantisation == ("Q8_0" if wanted else "Q4_K_M")
    shape = read.architecture
    assert (shape.layers, shape.vocabulary, shape.context_tokens) == (36, 500, 40960)
    assert [(layers.kind, layers.layers, layers.heads, layers.values_per_head) for layers in shape.caches] == [
        ("full", 36, 8, 256)
    ]
    assert all(wanted.startswith("bytes=0-") for ranges in hub.ranges.values() for wanted in ranges)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("org/Missing", HubError, "no repository org/Missing"),
        ("org/Images", ModelReadingError, "num_hidden_layers"),
        ("org/Nothing", ModelChoiceError, "no GGUF file"),
        ("org/Broken", ModelReadingError, "config.json is no JSON"),
        ("org/Incomplete", ModelReadingError, r"lacks b\.safetensors"),
        ("org/Quants:Q2_K", ModelChoiceError, "no GGUF file Q2_K"),
        ("no such thing", ModelReadingError, "neither a file or folder here nor a repository"),
        ("", ModelReadingError, "which model"),
        ("./missing", ModelReadingError, "there is no file or folder ./missing"),
    ],
)
def test_what_cannot_be_read_is_named(name: str, error: type[Exception], message: str, environ: dict[str, str]) -> None:
    with pytest.raises(error, match=message):
        read_model(name, environ=environ)


def test_a_hub_that_nobody_reaches_is_named(tmp_path: Path) -> None:
    with pytest.raises(HubError, match=r"the hub .* cannot be reached"):
        read_model("org/Any", environ={"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)})


def test_a_folder_is_read_as_a_repository_is(tmp_path: Path, environ: dict[str, str]) -> None:
    for name, content in sharded().items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert read_model(str(tmp_path)).weights == read_model("org/Sharded", environ=environ).weights
    (tmp_path / "a.safetensors").write_bytes(b"no header")
    with pytest.raises(ModelReadingError, match=r"a\.safetensors is no safetensors file"):
        read_model(str(tmp_path))


def quantised(method: dict[str, Any], tensors: Mapping[str, tuple[str, list[int]]], folder: Path) -> Any:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**LLAMA_8B, "quantization_config": method}))
    (folder / "model.safetensors").write_bytes(safetensors(tensors))
    return read_model(str(folder), at_load="fp8")


@pytest.mark.parametrize(
    ("method", "tensors", "words"),
    [
        (
            {"quant_method": "awq", "bits": 4},
            {"l.qweight": ("I32", [4096, 512]), "l.qzeros": ("I32", [32, 512]), "l.scales": ("F16", [32, 4096])},
            "awq 4 bit",
        ),
        ({"quant_method": "gptq", "bits": 4}, {"l.qweight": ("I32", [512, 4096])}, "gptq 4 bit"),
        ({"quant_method": "fp8"}, {"l.weight": ("F8_E4M3", [64, 64]), "l.weight_scale_inv": ("F32", [1, 1])}, "fp8"),
        ({"quant_method": "mxfp4"}, {"l.blocks": ("U8", [32, 90, 16]), "l.scales": ("U8", [32, 90])}, "mxfp4"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, {"l.weight": ("U8", [999, 1])}, "bitsandbytes 4 bit"),
    ],
    ids=["awq", "gptq", "fp8", "mxfp4", "bitsandbytes"],
)
def test_quantised_files_count_as_they_are(
    method: dict[str, Any], tensors: dict[str, tuple[str, list[int]]], words: str, tmp_path: Path
) -> None:
    read = quantised(method, tensors, tmp_path / "model")
    assert read.weights.total_bytes == sum(math.prod(shape) * BYTES[kind] for kind, shape in tensors.values())
    assert read.weights.quantisation == words
    assert "quantised already" in read.note


def test_layers_that_predict_ahead_and_32_bits_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(MODELS["DeepSeek-R1"][0]))
    tensors = {
        "model.layers.60.mlp.weight": ("F32", [100, 100]),
        "model.layers.61.mlp.weight": ("BF16", [100, 100]),
        "mtp.layers.0.mlp.weight": ("BF16", [100, 100]),
    }
    (tmp_path / "model.safetensors").write_bytes(safetensors(tensors))
    assert read_model(str(tmp_path)).weights.total_bytes == 100 * 100 * 2


GGUF_SHAPES: list[tuple[str, dict[str, Any], dict[str, int]]] = [
    ("gemma3", {"attention.sliding_window": 1024}, {"full": 6, "window": 30}),
    ("gpt-oss", {"attention.sliding_window": 128}, {"full": 18, "window": 18}),
    ("qwen2", {"attention.sliding_window": 4096}, {"full": 36}),
    ("deepseek2", {"attention.kv_lora_rank": 512, "rope.dimension_count": 64}, {"latent": 36}),
    (
        "qwen3next",
        {"full_attention_interval": 4, "ssm.inner_size": 4096, "ssm.state_size": 128, "ssm.conv_kernel": 4},
        {"full": 9, "state": 27},
    ),
    (
        "nemotron_h",
        {"attention.head_count_kv": [8 if layer % 6 == 5 else 0 for layer in range(36)], "ssm.inner_size": 4096},
        {"full": 6, "state": 30},
    ),
]


@pytest.mark.parametrize(("family", "more", "kinds"), GGUF_SHAPES, ids=[row[0] for row in GGUF_SHAPES])
def test_shapes_out_of_gguf(family: str, more: dict[str, Any], kinds: dict[str, int], tmp_path: Path) -> None:
    usual = {key.replace("qwen3.", f"{family}."): value for key, value in EIGHT_B.items()}
    fields = {**usual, "general.architecture": family, **{f"{family}.{key}": value for key, value in more.items()}}
    (tmp_path / "m.gguf").write_bytes(gguf(fields))
    shape = read_model(str(tmp_path / "m.gguf")).architecture
    assert {layers.kind: layers.layers for layers in shape.caches} == kinds


@pytest.mark.parametrize("content", [b"", b"GGUF", b"not a model", b"GGUF" + struct.pack("<IQQ", 1, 0, 0)])
def test_what_is_no_gguf_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(content)
    with pytest.raises(ModelReadingError):
        read_model(str(tmp_path / "m.gguf"))
