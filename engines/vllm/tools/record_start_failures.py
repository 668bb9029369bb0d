"""Record why vLLM fails to start: `record_start_failures.py [NAME]...`, into tests/start_failures.

Runs in the worker's Python, with real vLLM and the small model beside it, as `make env-vllm` makes them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path += [str(ROOT / "tools"), str(ROOT / "tests" / "support")]

import model_damage  # noqa: E402
import start_failures  # noqa: E402
from real_engine import MODEL  # noqa: E402
from start_failures import copied, edited  # noqa: E402

PYTHON = ROOT / ".venv-vllm" / "bin" / "python"
_SHORT = {"MAX_MODEL_LEN": "512", "ENFORCE_EAGER": "true", "$VLLM_CPU_KVCACHE_SPACE": "1", "$HF_HUB_OFFLINE": "1"}


def _with(folder: Path | str, **settings: str) -> Mapping[str, str]:
    return {"VLLM_PYTHON": str(PYTHON), "MODEL_NAME": str(folder), **_SHORT, **settings}


def _adapter(place: Path, rank: int = 8, **config: Any) -> Path:
    folder = place / "adapter"
    maker = ROOT / "engines" / "vllm" / "tests" / "make_adapter.py"
    subprocess.run([PYTHON, maker, MODEL, folder], check=True)
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_bytes()), "r": rank, **config}))
    return folder


def max_model_len_beyond_the_model(place: Path) -> Mapping[str, str]:
    return _with(copied(place), MAX_MODEL_LEN="100000")


def unsupported_architecture(place: Path) -> Mapping[str, str]:
    return _with(edited(place, architectures=["ZorkForCausalLM"]))


def missing_tensors(place: Path) -> Mapping[str, str]:
    return _with(edited(place, num_hidden_layers=31))


def quantised_by_nobody(place: Path) -> Mapping[str, str]:
    return _with(copied(place), QUANTIZATION="awq")


def quantisation_of_the_config(place: Path) -> Mapping[str, str]:
    return _with(edited(place, quantization_config={"quant_method": "zork"}))


def quantisation_on_this_device(place: Path) -> Mapping[str, str]:
    return _with(copied(place), QUANTIZATION="bitsandbytes")


def template_with_an_error(place: Path) -> Mapping[str, str]:
    file = place / "template.jinja"
    file.write_text("{% for message in messages %}{{ message.content }")
    return _with(copied(place), CHAT_TEMPLATE=str(file))


def missing_template(place: Path) -> Mapping[str, str]:
    return _with(copied(place), CHAT_TEMPLATE=f"{place}/template.jinja")


def lora_rank(place: Path) -> Mapping[str, str]:
    return _with(copied(place), LORA_MODULES=f"mine={_adapter(place, rank=64)}", MAX_LORA_RANK="16")


def missing_lora(place: Path) -> Mapping[str, str]:
    return _with(copied(place), LORA_MODULES=f"mine={place}/none")


def lora_of_other_modules(place: Path) -> Mapping[str, str]:
    adapter = _adapter(place, target_modules=["zork_proj"])
    return _with(copied(place), LORA_MODULES=f"mine={adapter}")


def bad_lora_rank(place: Path) -> Mapping[str, str]:
    return _with(copied(place), ENABLE_LORA="true", MAX_LORA_RANK="5")


def tensor_parallel_without_devices(place: Path) -> Mapping[str, str]:
    return _with(copied(place), TENSOR_PARALLEL_SIZE="4")


def heads_that_do_not_divide(place: Path) -> Mapping[str, str]:
    return _with(copied(place), TENSOR_PARALLEL_SIZE="2")


def tensor_parallel_of_zero(place: Path) -> Mapping[str, str]:
    return _with(copied(place), TENSOR_PARALLEL_SIZE="0")


def cache_beyond_memory(place: Path) -> Mapping[str, str]:
    return {**_with(copied(place)), "$VLLM_CPU_KVCACHE_SPACE": "100000"}


def cache_too_small(place: Path) -> Mapping[str, str]:
    return _with(copied(place), MAX_MODEL_LEN="8192", KV_CACHE_MEMORY_BYTES="10000000")


def utilisation_of_95(place: Path) -> Mapping[str, str]:
    return _with(copied(place), GPU_MEMORY_UTILIZATION="95")


def utilisation_beyond_what_is_free(place: Path) -> Mapping[str, str]:
    settings = dict(_with(copied(place), GPU_MEMORY_UTILIZATION="1.0"))
    settings["$VLLM_CPU_KVCACHE_SPACE"] = ""
    return settings


def sequences_of_zero(place: Path) -> Mapping[str, str]:
    return _with(copied(place), MAX_NUM_SEQS="0")


def batch_below_the_context(place: Path) -> Mapping[str, str]:
    return _with(copied(place), MAX_MODEL_LEN="4096", MAX_NUM_BATCHED_TOKENS="1024", ENABLE_CHUNKED_PREFILL="false")


def batch_below_the_sequences(place: Path) -> Mapping[str, str]:
    return _with(copied(place), MAX_NUM_SEQS="256", MAX_NUM_BATCHED_TOKENS="128")


def bad_dtype(place: Path) -> Mapping[str, str]:
    return _with(edited(place, dtype="zork16", torch_dtype="zork16"))


def bad_cache_dtype(place: Path) -> Mapping[str, str]:
    return _with(copied(place), KV_CACHE_DTYPE="fp8_e5m2")


def bad_overrides(place: Path) -> Mapping[str, str]:
    return _with(copied(place), VLLM_EXTRA_ARGS="--hf-overrides '{\"rope_parameters\": }'")


def bad_compilation(place: Path) -> Mapping[str, str]:
    return _with(copied(place), COMPILATION_CONFIG='{"mode": 99}')


def unknown_tool_parser(place: Path) -> Mapping[str, str]:
    return _with(copied(place), ENABLE_AUTO_TOOL_CHOICE="true", VLLM_EXTRA_ARGS="--tool-call-parser zork")


def tools_without_a_parser(place: Path) -> Mapping[str, str]:
    return _with(copied(place), ENABLE_AUTO_TOOL_CHOICE="true")


def unknown_reasoning_parser(place: Path) -> Mapping[str, str]:
    return _with(copied(place), VLLM_EXTRA_ARGS="--reasoning-parser zork")


def unknown_flag(place: Path) -> Mapping[str, str]:
    return _with(copied(place), VLLM_EXTRA_ARGS="--enable-prefix-cacheing")


def missing_draft_model(place: Path) -> Mapping[str, str]:
    config = {"model": f"{place}/draft", "num_speculative_tokens": 3}
    return _with(copied(place), SPECULATIVE_CONFIG=json.dumps(config))


def draft_model_without_a_number(place: Path) -> Mapping[str, str]:
    return _with(copied(place), SPECULATIVE_CONFIG=json.dumps({"model": str(MODEL)}))


def offline(place: Path) -> Mapping[str, str]:
    """Without a name server: what a machine without a network meets. It must not be told that it is offline."""
    settings = dict(_with("org/no-such-model"))
    settings["$HF_HUB_OFFLINE"] = ""
    return settings


def told_to_be_offline(place: Path) -> Mapping[str, str]:
    return _with("org/no-such-model")


def generator_asked_to_pool(place: Path) -> Mapping[str, str]:
    return _with(copied(place), RUNNER="pooling", CONVERT="classify")


def encoder_asked_to_generate(place: Path) -> Mapping[str, str]:
    bert = {"model_type": "bert", "architectures": ["BertModel"], "max_position_embeddings": 512}
    return _with(edited(place, **bert), RUNNER="generate")


def unknown_load_format(place: Path) -> Mapping[str, str]:
    return _with(copied(place), LOAD_FORMAT="runai_streamer")


def odd_block_size(place: Path) -> Mapping[str, str]:
    return _with(copied(place), BLOCK_SIZE="7")


def python_without_vllm(place: Path) -> Mapping[str, str]:
    return {**_with(copied(place)), "VLLM_PYTHON": "/usr/bin/python3"}


def missing_python(place: Path) -> Mapping[str, str]:
    return {**_with(copied(place)), "VLLM_PYTHON": f"{place}/python"}


def images_of_a_text_model(place: Path) -> Mapping[str, str]:
    return _with(copied(place), LIMIT_MM_PER_PROMPT='{"image": "many"}')


def context_scaled_wrongly(place: Path) -> Mapping[str, str]:
    return _with(edited(place, rope_parameters={"rope_type": "zork", "factor": 2.0}))


def adapter_as_model(place: Path) -> Mapping[str, str]:
    """From the hub or with weights beside it an adapter comes past the check of paths."""
    folder = _adapter(place)
    (folder / "model.safetensors").symlink_to(MODEL / "model.safetensors")
    return _with(folder)


ATTEMPTS = {**model_damage.attempts(_with), **start_failures.preparations(globals())}

if __name__ == "__main__":
    logs = Path(__file__).parents[1] / "tests" / "start_failures"
    sys.exit(start_failures.main("vllm", start_failures.version(PYTHON, "vllm"), ATTEMPTS, logs))
