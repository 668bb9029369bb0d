"""What `config.json` of many families says of their caches, against what is known of each."""

from __future__ import annotations

from typing import Any

import pytest

from engineroom.memory import MemoryProfile, StepSize
from engineroom_operations.fit import ModelReadingError, request_cache_bytes, step_cache_bytes, token_cache_bytes
from engineroom_operations.fit.config_json import read

ENGINE = MemoryProfile(share=1, steps=(StepSize(0, 2048, 256),), cache_types={"auto": 0, "fp8": 1})

LLAMA_8B = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 131072,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "torch_dtype": "bfloat16",
    "vocab_size": 128256,
}

FAMILIES: list[tuple[str, dict[str, Any], int]] = [
    ("grouped heads", LLAMA_8B, 131072),
    (
        "a head's size of its own (Qwen3-8B)",
        {**LLAMA_8B, "num_hidden_layers": 36, "head_dim": 128, "max_position_embeddings": 40960},
        147456,
    ),
    (
        "every head has keys of its own (Llama-2-7B)",
        {**LLAMA_8B, "num_key_value_heads": 32, "vocab_size": 32000, "max_position_embeddings": 4096},
        524288,
    ),
    (
        "a latent vector (DeepSeek-V3)",
        {
            **LLAMA_8B,
            "num_hidden_layers": 61,
            "hidden_size": 7168,
            "num_attention_heads": 128,
            "num_key_value_heads": 128,
            "kv_lora_rank": 512,
            "qk_rope_head_dim": 64,
            "n_routed_experts": 256,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": 2048,
            "first_k_dense_replace": 3,
        },
        61 * 576 * 2,
    ),
    (
        "a text part (Qwen2.5-VL-7B)",
        {
            "architectures": ["Qwen2_5_VLForConditionalGeneration"],
            "vision_config": {},
            "text_config": {
                **LLAMA_8B,
                "num_hidden_layers": 28,
                "hidden_size": 3584,
                "num_attention_heads": 28,
                "num_key_value_heads": 4,
            },
        },
        57344,
    ),
]


@pytest.mark.parametrize(("config", "token_bytes"), [row[1:] for row in FAMILIES], ids=[row[0] for row in FAMILIES])
def test_each_token_of_a_long_context_costs_what_is_known(config: dict[str, Any], token_bytes: int) -> None:
    assert token_cache_bytes(read(config), ENGINE) == token_bytes


def test_a_cache_of_eight_bits_takes_half() -> None:
    assert token_cache_bytes(read(LLAMA_8B), ENGINE, cache_type="fp8") == 65536


def test_gpus_divide_the_heads_and_hold_the_same_where_there_are_more_of_them() -> None:
    shape = read(LLAMA_8B)
    assert token_cache_bytes(shape, ENGINE, gpus=8) == 131072 // 8
    assert token_cache_bytes(read({**LLAMA_8B, "num_key_value_heads": 2}), ENGINE, gpus=8) == 131072 // 4 // 2
    latent = read(FAMILIES[3][1])
    assert token_cache_bytes(latent, ENGINE, gpus=8) == token_cache_bytes(latent, ENGINE)


GPT_OSS = {
    **LLAMA_8B,
    "hidden_size": 2880,
    "num_hidden_layers": 24,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "sliding_window": 128,
    "layer_types": ["sliding_attention", "full_attention"] * 12,
    "num_local_experts": 32,
    "num_experts_per_tok": 4,
    "intermediate_size": 2880,
}
GEMMA_3 = {
    **LLAMA_8B,
    "model_type": "gemma3_text",
    "hidden_size": 5376,
    "num_hidden_layers": 62,
    "num_key_value_heads": 16,
    "head_dim": 128,
    "sliding_window": 1024,
}


@pytest.mark.parametrize(
    ("config", "full", "window"),
    [
        (GPT_OSS, 12, 12),
        (GEMMA_3, 10, 52),
        ({**GEMMA_3, "sliding_window_pattern": 2}, 31, 31),
        ({**LLAMA_8B, "sliding_window": 4096}, 0, 32),
        ({**LLAMA_8B, "sliding_window": 4096, "use_sliding_window": False}, 32, 0),
        ({**LLAMA_8B, "sliding_window": 4096, "use_sliding_window": True, "max_window_layers": 28}, 28, 4),
        ({**LLAMA_8B, "sliding_window": None}, 32, 0),
        ({**LLAMA_8B, "model_type": "gemma2", "sliding_window": 4096}, 16, 16),
        ({**LLAMA_8B, "attention_chunk_size": 8192, "no_rope_layers": [1, 1, 1, 0] * 8}, 8, 24),
        ({**LLAMA_8B, "layer_types": ["full_attention"] * 32, "num_kv_shared_layers": 12}, 20, 0),
        ({**LLAMA_8B, "layer_types": ["an_attention_of_next_year"] * 32}, 32, 0),
        ({**LLAMA_8B, "num_hidden_layers": None, "layers_block_type": ["attention", "moe", "mlp", "attention"]}, 2, 0),
        ({**LLAMA_8B, "block_types": ["recurrent", "recurrent", "attention"], "mamba_expand": 1}, 10, 0),
    ],
)
def test_layers_with_a_window_are_known(config: dict[str, Any], full: int, window: int) -> None:
    kinds = {layers.kind: layers.layers for layers in read(config).caches}
    assert (kinds.get("full", 0), kinds.get("window", 0)) == (full, window)


def test_layers_may_differ_in_their_heads_and_keep_one_vector_for_several_tokens() -> None:
    wider = {**GEMMA_3, "num_hidden_layers": 12, "per_layer_config": {"05": {"head_dim": 512}, "11": {"head_dim": 512}}}
    assert [(each.kind, each.layers, each.values_per_head) for each in read(wider).caches] == [
        ("window", 10, 256),
        ("full", 2, 1024),
    ]
    compressed = {
        **LLAMA_8B,
        "head_dim": 512,
        "num_key_value_heads": 1,
        "sliding_window": 128,
        "compress_rates": {"sparse": 4, "heavy": 128},
        "layer_types": ["sparse", "heavy"] * 16,
    }
    assert token_cache_bytes(read(compressed), ENGINE) == 16 * (512 // 4 + 512 // 128) * 2
    beside = {**LLAMA_8B, "layer_types": ["hybrid_sliding", "hybrid"] * 16, "sliding_window": 512, "mamba_expand": 1}
    assert {each.kind: each.layers for each in read(beside).caches} == {"window": 16, "state": 32, "full": 16}


def test_a_window_keeps_no_more_than_itself_and_a_step_for_all() -> None:
    shape = read({**LLAMA_8B, "sliding_window": 4096})
    step = ENGINE.steps[0]
    assert request_cache_bytes(shape, ENGINE, 4096) == 4096 * 131072
    assert request_cache_bytes(shape, ENGINE, 131072) == 4096 * 131072
    assert step_cache_bytes(shape, ENGINE, 4096, step) == 0
    assert step_cache_bytes(shape, ENGINE, 5120, step) == 1024 * 131072
    assert step_cache_bytes(shape, ENGINE, 131072, step) == 2048 * 131072


QWEN3_NEXT = {
    **LLAMA_8B,
    "hidden_size": 2048,
    "num_hidden_layers": 48,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "head_dim": 256,
    "full_attention_interval": 4,
    "linear_num_value_heads": 32,
    "linear_num_key_heads": 16,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_conv_kernel_dim": 4,
}
NEMOTRON_H = {
    **LLAMA_8B,
    "num_hidden_layers": 4,
    "hybrid_override_pattern": "M-M*",
    "mamba_num_heads": 128,
    "mamba_head_dim": 64,
    "ssm_state_size": 128,
    "n_groups": 8,
    "conv_kernel": 4,
    "head_dim": 128,
}
JAMBA = {
    **LLAMA_8B,
    "attn_layer_period": 8,
    "attn_layer_offset": 4,
    "mamba_d_state": 16,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
}


@pytest.mark.parametrize(
    ("config", "full_layers", "state_layers", "state_values"),
    [
        (QWEN3_NEXT, 12, 36, 32 * 128 * 128 + (2 * 16 * 128 + 32 * 128) * 3),
        (NEMOTRON_H, 1, 2, 128 * 64 * 128 + (128 * 64 + 2 * 8 * 128) * 3),
        (JAMBA, 4, 28, 8192 * (16 + 3)),
        ({**LLAMA_8B, "model_type": "mamba", "state_size": 16, "intermediate_size": 8192}, 0, 32, 8192 * (16 + 3)),
    ],
    ids=["gated delta net", "mamba 2", "mamba and attention", "mamba"],
)
def test_states_are_counted_once_for_each_request(
    config: dict[str, Any], full_layers: int, state_layers: int, state_values: int
) -> None:
    shape = read(config)
    kinds = {layers.kind: layers for layers in shape.caches}
    assert kinds["full"].layers == full_layers if full_layers else "full" not in kinds
    assert kinds["state"].layers == state_layers
    assert kinds["state"].heads * kinds["state"].values_per_head == pytest.approx(state_values, rel=0.01)
    growth = request_cache_bytes(shape, ENGINE, 65536) - request_cache_bytes(shape, ENGINE, 32768)
    assert growth == 32768 * token_cache_bytes(shape, ENGINE)


@pytest.mark.parametrize(
    ("scaling", "context"),
    [
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}, 131072),
        ({"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}, 32768),
        (None, 32768),
    ],
)
def test_the_longest_context_counts_scaled_positions(scaling: dict[str, Any] | None, context: int) -> None:
    config = {**LLAMA_8B, "max_position_embeddings": 32768, "rope_scaling": scaling}
    assert read(config).context_tokens == context


@pytest.mark.parametrize("config", [{}, {"model_type": "unet", "sample_size": 64}, {"num_hidden_layers": "many"}])
def test_what_is_no_language_model_is_named(config: dict[str, Any]) -> None:
    with pytest.raises(ModelReadingError, match="num_hidden_layers"):
        read(config, "org/name: config.json")
