"""Which files of a repository are the model, and what users call models."""

from __future__ import annotations

from pathlib import Path

import pytest

from engineroom.models import ModelChoiceError, gguf, reference
from engineroom.models.choice import choose_files

QUANTISATIONS = ["Qwen3-8B-Q4_K_M.gguf", "Qwen3-8B-Q8_0.gguf", "mmproj-BF16.gguf", "mmproj-F16.gguf", "README.md"]
PARTS = [f"Q8_0/Big-Q8_0-0000{number}-of-00003.gguf" for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("names", "wanted", "first"),
    [
        (QUANTISATIONS, "", "Qwen3-8B-Q4_K_M.gguf"),
        (QUANTISATIONS, "Q8_0", "Qwen3-8B-Q8_0.gguf"),
        (QUANTISATIONS, "q8_0", "Qwen3-8B-Q8_0.gguf"),
        (QUANTISATIONS, "Qwen3-8B-Q8_0.gguf", "Qwen3-8B-Q8_0.gguf"),
        (["only-IQ2_XXS.gguf"], "", "only-IQ2_XXS.gguf"),
        (["m-Q8_0.gguf", "m-Q5_K_M.gguf", "m-F16.gguf"], "", "m-Q5_K_M.gguf"),
        (["m-Q8_0.gguf", "m-IQ4_XS.gguf"], "IQ4_XS", "m-IQ4_XS.gguf"),
        (["m.Q8_0.gguf", "m.UD-Q4_K_XL.gguf"], "UD-Q4_K_XL", "m.UD-Q4_K_XL.gguf"),
        (["x.gguf", *PARTS], "Q8_0", PARTS[0]),
    ],
)
def test_the_quantisation_that_is_meant(names: list[str], wanted: str, first: str) -> None:
    assert gguf.choose(names, "org/name", wanted).first == first


def test_all_parts_of_a_split_model_belong_to_it_and_its_projector() -> None:
    choice = gguf.choose([*PARTS, "mmproj-Big-f16.gguf", "mmproj-Big-bf16.gguf"], "org/name")
    assert choice.parts == tuple(PARTS)
    assert choice.projector == "mmproj-Big-f16.gguf"
    with pytest.raises(ModelChoiceError, match="1 of the 3 parts of Q8_0"):
        gguf.choose(PARTS[:2], "org/name")


@pytest.mark.parametrize(
    ("names", "wanted", "error"),
    [
        (QUANTISATIONS, "Q2_K", r"no GGUF file Q2_K; it has Qwen3-8B-Q4_K_M\.gguf, Qwen3-8B-Q8_0\.gguf"),
        (["README.md"], "", "has no GGUF file"),
        (["a-Q2_K.gguf", "b-Q3_K.gguf"], "", "several GGUF models"),
        (["a-Q8_0.gguf", "b-Q8_0.gguf"], "Q8_0", "several GGUF models"),
    ],
)
def test_what_is_not_clear_is_listed(names: list[str], wanted: str, error: str) -> None:
    with pytest.raises(ModelChoiceError, match=error):
        gguf.choose(names, "org/name", wanted)


def test_weights_are_taken_in_one_format_and_with_the_small_files_beside_them() -> None:
    names = [
        "config.json",
        "1_Pooling/config.json",
        "model.safetensors",
        "pytorch_model.bin",
        "onnx/model.onnx",
        "x.png",
    ]
    assert set(choose_files(names, "org/name").files) == {"config.json", "1_Pooling/config.json", "model.safetensors"}
    assert "pytorch_model.bin" in choose_files(names, "org/name", ["pytorch", "safetensors"]).files
    assert choose_files([*names, "m-Q4_K_M.gguf"], "org/name", ["gguf"]).first == "m-Q4_K_M.gguf"
    with pytest.raises(ModelChoiceError, match="has PyTorch and safetensors weights, and the engine loads GGUF"):
        choose_files(names, "org/name", ["gguf"])
    note = choose_files(QUANTISATIONS, "org/name").note
    assert note == "org/name: using Q4_K_M; it also has Q8_0, named as org/name:Q8_0"


@pytest.mark.parametrize(
    ("text", "name", "revision"),
    [
        ("org/name", "org/name", None),
        ("org/name:Q8_0", "org/name:Q8_0", None),
        ("hf.co/org/name:Q8_0", "org/name:Q8_0", None),
        ("https://huggingface.co/org/name", "org/name", None),
        ("https://huggingface.co/org/name/", "org/name", None),
        ("huggingface.co/org/name?library=x", "org/name", None),
        ("https://huggingface.co/org/name/tree/main", "org/name", None),
        ("https://huggingface.co/org/name/tree/v2", "org/name", "v2"),
        ("https://hf.co/org/name/blob/main/sub/m-Q8_0.gguf", "org/name:sub/m-Q8_0.gguf", None),
        ("https://huggingface.co/org/name/resolve/v2/m-Q8_0.gguf?download=true", "org/name:m-Q8_0.gguf", "v2"),
        ("https://huggingface.co/org/name/blob/main/README.md", "org/name", None),
        ("hf://org/name", "org/name", None),
        ("https://mirror.example:8443/org/name", "org/name", None),
        ("https://elsewhere.example/org/name", "https://elsewhere.example/org/name", None),
        ("s3://bucket/name", "s3://bucket/name", None),
        ("/no/such/folder", "/no/such/folder", None),
        ("gpt2", "gpt2", None),
    ],
)
def test_addresses_are_repositories(text: str, name: str, revision: str | None) -> None:
    parsed = reference.parse(text, {"HF_ENDPOINT": "https://mirror.example:8443"})
    assert parsed == reference.ModelReference(name, revision)


def test_paths_are_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "my model.gguf"
    model.touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for text in (str(model), "~/my model.gguf", f"file://{tmp_path}/my%20model.gguf", "my model.gguf"):
        assert reference.parse(text, {}).path is not None
    (tmp_path / "org/name").mkdir(parents=True)
    assert reference.parse("org/name", {}).repository is None, "what is here goes before what may be elsewhere"


def test_graphs_are_taken_with_their_weights_and_tokenisers() -> None:
    graphs = [f"openvino_{name}.{end}" for name in ("model", "tokenizer", "detokenizer") for end in ("xml", "bin")]
    names = [*graphs, "config.json", "tokenizer.json", "README.md", "openvino/openvino_model.xml"]
    assert set(choose_files(names, "org/name", ("ir", "gguf")).files) == {*graphs, "config.json", "tokenizer.json"}
