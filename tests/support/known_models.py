"""Public models by the fields of their `config.json` that matter, and the bytes of weights that engines load.

The fields are the makers'; sizes are those of the files on the hub, without layers for predicting ahead, or those that
an engine's log states where the row's source has it.
"""

from __future__ import annotations

from typing import Any

from engineroom_operations.fit import ModelMemory, Weights
from engineroom_operations.fit.config_json import read

GIB = 1024**3


def shape(
    layers: int, hidden: int, heads: int, kv_heads: int, width: int, vocabulary: int, context: int, **more: Any
) -> dict[str, Any]:
    return {
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": width,
        "vocab_size": vocabulary,
        "max_position_embeddings": context,
        "torch_dtype": "bfloat16",
        **more,
    }


def experts(count: int, active: int, width: int, **more: Any) -> dict[str, Any]:
    return {"num_experts": count, "num_experts_per_tok": active, "moe_intermediate_size": width, **more}


DEEPSEEK = shape(
    *(61, 7168, 128, 128, 18432, 129280, 163840),
    kv_lora_rank=512,
    qk_rope_head_dim=64,
    **experts(256, 8, 2048, first_k_dense_replace=3),
)
GLM = shape(92, 5120, 96, 8, 12288, 151552, 131072, head_dim=128, **experts(160, 8, 1536, first_k_dense_replace=3))
GLM_AIR = shape(46, 4096, 96, 8, 10944, 151552, 131072, head_dim=128, **experts(128, 8, 1408, first_k_dense_replace=1))
LLAMA_8B = shape(32, 4096, 32, 8, 14336, 128256, 131072)
LLAMA_70B = shape(80, 8192, 64, 8, 28672, 128256, 131072)
SMOLLM2 = shape(30, 576, 9, 3, 1536, 49152, 8192)
"""SmolLM2-135M-Instruct, the small model of the tests."""

MISTRAL_7B = shape(32, 4096, 32, 8, 14336, 32000, 32768)
QWEN_2_5_7B = shape(28, 3584, 28, 4, 18944, 152064, 32768)
QWEN_2_5_32B = shape(64, 5120, 40, 8, 27648, 152064, 32768)
QWEN_2_5_72B = shape(80, 8192, 64, 8, 29568, 152064, 32768)
QWEN_3_32B = shape(64, 5120, 64, 8, 25600, 151936, 40960, head_dim=128)
QWEN_3_30B = shape(48, 2048, 32, 4, 6144, 151936, 262144, head_dim=128, **experts(128, 8, 768))
QWEN_3_235B = shape(94, 4096, 64, 4, 12288, 151936, 262144, head_dim=128, **experts(128, 8, 1536))
QWEN_3_NEXT = shape(
    *(48, 2048, 16, 2, 5120, 151936, 262144),
    head_dim=256,
    full_attention_interval=4,
    linear_num_value_heads=32,
    linear_num_key_heads=16,
    **experts(512, 10, 512),
)
QWEN_3_5_27B = shape(
    *(64, 5120, 24, 4, 17408, 248320, 262144),
    head_dim=256,
    full_attention_interval=4,
    linear_num_value_heads=48,
    linear_num_key_heads=16,
)
GPT_OSS_20B = shape(
    *(24, 2880, 64, 8, 2880, 201088, 131072),
    head_dim=64,
    sliding_window=128,
    layer_types=["sliding_attention", "full_attention"] * 12,
    num_local_experts=32,
    num_experts_per_tok=4,
)
GPT_OSS_120B = {
    **GPT_OSS_20B,
    "num_hidden_layers": 36,
    "layer_types": ["sliding_attention", "full_attention"] * 18,
    "num_local_experts": 128,
}

MODELS: dict[str, tuple[dict[str, Any], float]] = {
    "DeepSeek-R1": (DEEPSEEK, 671e9),
    "DeepSeek-R1 BF16": (DEEPSEEK, 1342e9),
    "DeepSeek-R1 AWQ": (DEEPSEEK, 352e9),
    "DeepSeek-R1 NVFP4": (DEEPSEEK, 397e9),
    "Kimi-K2 FP8": ({**DEEPSEEK, "num_attention_heads": 64, "n_routed_experts": 384, "num_experts": 384}, 1029e9),
    "GLM-4.5": (GLM, 705.6e9),
    "GLM-4.5-FP8": (GLM, 355e9),
    "GLM-4.5-Air": (GLM_AIR, 213.7e9),
    "GLM-4.5-Air-FP8": (GLM_AIR, 108.5e9),
    "Llama-3.1-8B": (LLAMA_8B, 16.06e9),
    "Llama-3.1-8B bnb 4 bit": (LLAMA_8B, 5.7e9),
    "Llama-3.1-70B": (LLAMA_70B, 141.1e9),
    "Llama-3.3-70B-FP8": (LLAMA_70B, 72.7e9),
    "Llama-3.3-70B-FP4": (LLAMA_70B, 42.7e9),
    "Llama-3.1-405B-FP8": (shape(126, 16384, 128, 8, 53248, 128256, 131072), 8 * 57.752 * GIB),
    "Granite-3.1-8B": (shape(40, 4096, 32, 8, 12800, 49155, 131072), 15.25 * GIB),
    "Mistral-7B": (MISTRAL_7B, 14.48e9),
    "Mistral-7B-AWQ": (MISTRAL_7B, 4.15e9),
    "deepseek-coder-1.3b": (shape(24, 2048, 16, 16, 5504, 32256, 65536), 2.69e9),
    "Qwen1.5-7B-GPTQ-Int4": (shape(32, 4096, 32, 32, 11008, 151936, 32768), 5.86e9),
    "Qwen1.5-72B": (shape(80, 8192, 64, 64, 24576, 152064, 32768), 144.6e9),
    "Qwen2.5-7B-AWQ": (QWEN_2_5_7B, 5.57e9),
    "Qwen2.5-VL-7B": ({"vision_config": {}, "text_config": QWEN_2_5_7B}, 16.6e9),
    "Qwen2.5-32B": (QWEN_2_5_32B, 65.5e9),
    "Qwen2.5-32B-AWQ": (QWEN_2_5_32B, 19.3e9),
    "Qwen2.5-32B-GPTQ-Int8": (QWEN_2_5_32B, 35.1e9),
    "Qwen2.5-VL-72B": ({"vision_config": {}, "text_config": QWEN_2_5_72B}, 146.8e9),
    "Qwen3-4B": (shape(36, 2560, 32, 8, 9728, 151936, 40960, head_dim=128), 8.05e9),
    "Qwen3-32B-AWQ": (QWEN_3_32B, 19.3e9),
    "Qwen3-Coder-30B-A3B-FP8": (QWEN_3_30B, 31.2e9),
    "Qwen3-235B-A22B": (QWEN_3_235B, 470.2e9),
    "Qwen3-235B-A22B-FP8": (QWEN_3_235B, 236.5e9),
    "Qwen3-Next-80B-A3B": (QWEN_3_NEXT, 159.4e9),
    "Qwen3.5-27B": (QWEN_3_5_27B, 54.7e9),
    "ERNIE-4.5-21B-A3B": (shape(28, 2560, 20, 4, 12288, 103424, 131072, head_dim=128, **experts(64, 6, 1536)), 43.7e9),
    "MiniMax-M2": (shape(62, 3072, 48, 8, 1536, 200064, 196608, head_dim=128, **experts(256, 8, 1536)), 230.12e9),
    "gpt-oss-20b": (GPT_OSS_20B, 13.76e9),
    "gpt-oss-120b": (GPT_OSS_120B, 65.2e9),
    "Llama-4-Scout": (
        shape(48, 5120, 40, 8, 16384, 202048, 10485760, head_dim=128, **experts(16, 1, 8192)),
        217.3e9,
    ),
}


def model(name: str) -> ModelMemory:
    config, size = MODELS[name]
    return ModelMemory(name, "safetensors", read(config, name), Weights(int(size), {}), int(size))
