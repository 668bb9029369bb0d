"""How an encoder's files say that its vectors are made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engineroom.errors import EngineStartError
from engineroom.models import pooling


def written(folder: Path, entries: dict[str, Any], modules: tuple[str, ...] = ()) -> Path:
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **entries}))
    types = [{"type": f"sentence_transformers.models.{name}"} for name in modules]
    (folder / "modules.json").write_text(json.dumps(types))
    return folder


@pytest.mark.parametrize(
    ("architectures", "expected"), [(["BertModel"], "mean"), (["LlamaForCausalLM"], None), ([], None)]
)
def test_a_model_that_says_nothing_is_judged_by_its_kind(
    tmp_path: Path, architectures: list[str], expected: str | None
) -> None:
    assert pooling(tmp_path, architectures) == expected


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode_lasttoken": True}, "lasttoken"),
        ({"pooling_mode": "cls"}, "cls"),
        ({}, "mean"),
    ],
)
def test_its_files_say_how(tmp_path: Path, entries: dict[str, Any], expected: str) -> None:
    folder = written(tmp_path, entries, ("Transformer", "Pooling", "Normalize"))
    assert pooling(folder, ["LlamaForCausalLM"]) == expected


@pytest.mark.parametrize(
    ("entries", "modules", "words"),
    [
        ({"pooling_mode_weightedmean_tokens": True}, (), "weightedmean"),
        ({"pooling_mode": "max"}, (), "max"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, (), "cls and mean"),
        ({"pooling_mode_mean_tokens": True}, ("Transformer", "Pooling", "Dense"), "Dense"),
    ],
)
def test_what_no_engine_can_do_is_refused(
    tmp_path: Path, entries: dict[str, Any], modules: tuple[str, ...], words: str
) -> None:
    with pytest.raises(EngineStartError, match=words):
        pooling(written(tmp_path, entries, modules), ["BertModel"])
