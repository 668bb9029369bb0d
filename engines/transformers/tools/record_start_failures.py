"""Record why transformers fails to load: `record_start_failures.py [NAME]...`, into tests/start_failures.

Runs in the engine's own Python, as `make env-transformers` makes it; what is recorded are exceptions.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path += [str(ROOT / "tools"), str(ROOT / "tests" / "support")]

import model_damage  # noqa: E402
import start_failures  # noqa: E402
from start_failures import copied, edited  # noqa: E402


def _with(folder: Path | str, **settings: str) -> Mapping[str, str]:
    return {"MODEL_NAME": str(folder), "DEVICE": "cpu", "$HF_HUB_OFFLINE": "1", **settings}


def no_model_type(place: Path) -> Mapping[str, str]:
    folder = edited(place)
    (folder / "config.json").write_text("{}")
    return _with(folder)


def quantised_without_the_library(place: Path) -> Mapping[str, str]:
    return _with(copied(place), QUANTIZATION="bitsandbytes-4")


def unknown_quantisation(place: Path) -> Mapping[str, str]:
    return _with(edited(place, quantization_config={"quant_method": "zork"}))


def missing_device(place: Path) -> Mapping[str, str]:
    return _with(copied(place), DEVICE="cuda")


def unknown_device(place: Path) -> Mapping[str, str]:
    return _with(copied(place), DEVICE="zork")


def unknown_attention(place: Path) -> Mapping[str, str]:
    return _with(copied(place), ATTN_IMPLEMENTATION="flash_attention_2")


def attention_that_is_none(place: Path) -> Mapping[str, str]:
    return _with(copied(place), ATTN_IMPLEMENTATION="zork")


def unknown_dtype(place: Path) -> Mapping[str, str]:
    return _with(copied(place), DTYPE="zork16")


def cache_beyond_memory(place: Path) -> Mapping[str, str]:
    return _with(copied(place), KV_CACHE_TOKENS="2000000000")


def rope_of_no_kind(place: Path) -> Mapping[str, str]:
    return _with(edited(place, rope_parameters={"rope_type": "zork", "rope_theta": 1.0}))


def heads_that_do_not_divide(place: Path) -> Mapping[str, str]:
    return _with(edited(place, num_attention_heads=7, head_dim=None))


def truncated_gguf(place: Path) -> Mapping[str, str]:
    file = place / "truncated.gguf"
    file.write_bytes(b"GGUF\x03\0\0\0" + bytes(100))
    return _with(file)


def offline(place: Path) -> Mapping[str, str]:
    return _with("org/no-such-model")


def encoder_with_another_pooling(place: Path) -> Mapping[str, str]:
    folder = edited(place, architectures=["LlamaModel"])
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_weightedmean_tokens": True}))
    return _with(folder)


ATTEMPTS = {**model_damage.attempts(_with), **start_failures.preparations(globals())}

if __name__ == "__main__":
    version = f"transformers {importlib.metadata.version('transformers')}"
    logs = Path(__file__).parents[1] / "tests" / "start_failures"
    sys.exit(start_failures.main("transformers", version, ATTEMPTS, logs))
