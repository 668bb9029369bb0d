"""A model's name that can be none is answered with what to write."""

from __future__ import annotations

import pytest

from engineroom.models.names import misnamed


@pytest.mark.parametrize(
    "name", ["org/name", "gpt2", "org/name:Q8_0", "org/name:sub/m.gguf", "s3://bucket/a b", "a.b/c-d_e"]
)
def test_a_name_is_left_alone(name: str) -> None:
    assert misnamed(name) is None


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("org/name # my model", "write org/name alone"),
        ("datasets/org", "org is a data set of the hub, no model"),
        ("spaces/org", "a space of the hub"),
        ("https://modelscope.cn/models/Qwen/Qwen3-0.6B", "write Qwen/Qwen3-0.6B"),
        ("https://elsewhere.example/org/name", "the address of a page; write the repository as org/name"),
        ("org/name/extra", "neither a file or folder here nor a repository"),
        ("my model", "neither a file or folder"),
        ("org/name,org/other", "neither a file or folder"),
    ],
)
def test_what_can_be_no_model_is_answered(name: str, says: str) -> None:
    assert says in (misnamed(name) or "")
