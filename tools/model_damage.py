"""Ways in which a folder of safetensors can be broken, the same for every engine that loads one.

Each function makes the small model in a folder, broken, and returns where it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from start_failures import Preparation, copied, edited, replace, truncate

_WEIGHTS = "model.safetensors"


def attempts(settings: Callable[[Path], Mapping[str, str]]) -> dict[str, Preparation]:
    """An attempt to start with each of the broken models.

    Args:
        settings: an engine's for a model's folder.
    """

    def attempt(damage: Callable[[Path], Path]) -> Preparation:
        return lambda place: settings(damage(place))

    return {damage.__name__: attempt(damage) for damage in _DAMAGES}


def unknown_architecture(place: Path) -> Path:
    return edited(place, model_type="zork", architectures=["ZorkForCausalLM"])


def code_of_its_own(place: Path) -> Path:
    return edited(place, model_type="zork", auto_map={"AutoConfig": "configuration_zork.ZorkConfig"})


def missing_weights(place: Path) -> Path:
    return _without(place, _WEIGHTS)


def missing_shard(place: Path) -> Path:
    folder = copied(place)
    present = "model-00001-of-00002.safetensors"
    (folder / _WEIGHTS).rename(folder / present)
    index = {"metadata": {}, "weight_map": {"a": present, "b": "model-00002-of-00002.safetensors"}}
    (folder / f"{_WEIGHTS}.index.json").write_text(json.dumps(index))
    return folder


def truncated_weights(place: Path) -> Path:
    folder = copied(place)
    truncate(folder / _WEIGHTS, 100_000_000)
    return folder


def weights_that_are_a_pointer(place: Path) -> Path:
    """What a clone without Git's large files has in their place."""
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 269060552\n"
    return _with_content(place, _WEIGHTS, pointer)


def weights_of_another_shape(place: Path) -> Path:
    return edited(place, intermediate_size=1024)


def no_config(place: Path) -> Path:
    return _without(place, "config.json")


def config_that_is_no_json(place: Path) -> Path:
    return _with_content(place, "config.json", b'{"architectures": ["LlamaForCausalLM"], }')


def no_tokenizer(place: Path) -> Path:
    return _without(place, "tokenizer.json", "tokenizer_config.json")


def tokenizer_that_is_damaged(place: Path) -> Path:
    return _with_content(place, "tokenizer.json", b"{}")


_DAMAGES = (
    unknown_architecture,
    code_of_its_own,
    missing_weights,
    missing_shard,
    truncated_weights,
    weights_that_are_a_pointer,
    weights_of_another_shape,
    no_config,
    config_that_is_no_json,
    no_tokenizer,
    tokenizer_that_is_damaged,
)


def _without(place: Path, *names: str) -> Path:
    folder = copied(place)
    for name in names:
        (folder / name).unlink()
    return folder


def _with_content(place: Path, name: str, content: bytes) -> Path:
    folder = copied(place)
    replace(folder / name, content)
    return folder
