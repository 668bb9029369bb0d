"""Record why MAX fails to start: `record_start_failures.py [NAME]...`, into tests/start_failures.

Runs in the worker's Python, with real MAX and the small model beside it, as `make env-max` makes them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path += [str(ROOT / "tools"), str(ROOT / "tests" / "support")]

import model_damage  # noqa: E402
import start_failures  # noqa: E402
from start_failures import copied, edited  # noqa: E402

MAX = ROOT / ".venv-max" / "bin" / "max"


def _with(folder: Path | str, **settings: str) -> Mapping[str, str]:
    offline = {"$HF_HUB_OFFLINE": "1"}
    return {
        "MAX_COMMAND": str(MAX),
        "MODEL_NAME": str(folder),
        "MAX_LENGTH": "512",
        "DEVICES": "cpu",
        **offline,
        **settings,
    }


def max_length_beyond_the_model(place: Path) -> Mapping[str, str]:
    return _with(copied(place), MAX_LENGTH="100000")


def unsupported_architecture(place: Path) -> Mapping[str, str]:
    return _with(edited(place, architectures=["ZorkForCausalLM"]))


def no_gpu(place: Path) -> Mapping[str, str]:
    return _with(copied(place), DEVICES="gpu:0")


def quantisation_without_weights(place: Path) -> Mapping[str, str]:
    return _with(copied(place), QUANTIZATION_ENCODING="q4_k")


def cache_beyond_memory(place: Path) -> Mapping[str, str]:
    return _with(copied(place), MAX_LENGTH="8192", MAX_BATCH_SIZE="100000")


def told_to_be_offline(place: Path) -> Mapping[str, str]:
    return _with("org/no-such-model")


def missing_draft_model(place: Path) -> Mapping[str, str]:
    return _with(copied(place), DRAFT_MODEL_PATH=f"{place}/none")


def missing_lora(place: Path) -> Mapping[str, str]:
    return _with(copied(place), ENABLE_LORA="true", LORA_PATHS=f"{place}/none")


def template_that_is_missing(place: Path) -> Mapping[str, str]:
    return _with(copied(place), CHAT_TEMPLATE=f"{place}/none.jinja")


def hidden_size_missing(place: Path) -> Mapping[str, str]:
    folder = copied(place)
    config = json.loads((folder / "config.json").read_bytes())
    del config["hidden_size"]
    del config["num_attention_heads"]
    (folder / "config.json").write_text(json.dumps(config))
    return _with(folder)


ATTEMPTS = {**model_damage.attempts(_with), **start_failures.preparations(globals())}

if __name__ == "__main__":
    version = start_failures.version(MAX.with_name("python"), "max")
    sys.exit(start_failures.main("max", version, ATTEMPTS, Path(__file__).parents[1] / "tests" / "start_failures"))
