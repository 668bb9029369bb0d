"""What a model's files are, and which names can only be paths."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gguf_lora import write

from engineroom.models import adapter_base, formats, formats_at, is_path


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["config.json", "model.safetensors", "tokenizer.json"], {"safetensors"}),
        (["model-00001-of-00002.safetensors", "original/consolidated.00.pth"], {"safetensors", "pytorch"}),
        (["small-Q4_K_M.gguf", "mmproj-F16.gguf"], {"gguf"}),
        (["pytorch_model.bin", "training_args.bin", "optimizer.pt"], {"pytorch"}),
        (["model_state.pdparams"], {"pdparams"}),
        (["openvino_model.xml", "openvino_model.bin", "openvino_tokenizer.xml", "openvino_tokenizer.bin"], {"ir"}),
        (["openvino_tokenizer.xml", "openvino_tokenizer.bin", "model.safetensors"], {"safetensors"}),
        (["openvino_model.bin"], {"pytorch"}),
        (["onnx/model.onnx"], {"onnx"}),
        (["adapter_config.json", "adapter_model.safetensors"], set()),
        (["config.json", "README.md"], set()),
    ],
)
def test_formats_follow_from_the_names_of_the_weights(names: list[str], expected: set[str], tmp_path: Path) -> None:
    assert formats(names) == expected
    flat = [name for name in names if "/" not in name]
    for name in flat:
        (tmp_path / name).touch()
    assert formats_at(tmp_path) == formats(flat)


def test_a_file_has_its_own_format(tmp_path: Path) -> None:
    file = tmp_path / "some.gguf"
    file.touch()
    assert formats_at(file) == {"gguf"}
    assert formats_at(tmp_path / "missing") == set()


def test_an_adapter_is_told_from_a_model(tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "org/base"}))
    (folder / "adapter_model.safetensors").touch()
    assert adapter_base(folder) == "org/base"
    (folder / "adapter_config.json").write_text("no JSON")
    assert adapter_base(folder) == ""
    # A whole model may have an adapter's file beside its weights.
    (folder / "model.safetensors").touch()
    assert adapter_base(folder) is None
    assert adapter_base(write(tmp_path / "lora.gguf")) == ""
    assert adapter_base(tmp_path / "missing") is None


@pytest.mark.parametrize("name", ["/x", "./nope.gguf", "../a", "~/models/x.gguf", "..", "nope.gguf", "a/b/c", "C:\\x"])
def test_what_can_only_be_a_path(name: str) -> None:
    assert is_path(name)


@pytest.mark.parametrize(
    "name",
    [
        "gpt2",
        "org/name",
        "org/name:Q8_0",
        "org/name:sub/file.gguf",
        "org/name.gguf",
        "hf.co/org/name",
        "s3://bucket/a/b",
    ],
)
def test_what_may_be_a_repository(name: str) -> None:
    assert not is_path(name)


def test_a_weight_file_in_a_folder_that_is_here_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)
    assert is_path("models/small.gguf")
