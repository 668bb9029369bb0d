"""The deployment file: ours, and runpod-llm-manager's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engineroom.errors import SettingsError
from engineroom_operations.deploy.deployment_file import DeploymentFile, read_deployment_file

SEED = {
    "mode": "pod",
    "model": {"name": "facebook/opt-125m"},
    "compute": {"gpu_type_id": "NVIDIA RTX 4090", "gpu_count": 2},
    "pod": {"template_id": "vllm", "container_disk_gb": 20, "name": "my-llm-pod"},
    "serverless": {"name": "my-llm-endpoint", "max_workers": 5},
}


def read(tmp_path: Path, content: object, name: str = "engineroom.yaml", **overrides: Any) -> DeploymentFile:
    (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return read_deployment_file(None, overrides, tmp_path)


def test_no_file_and_no_word_is_a_queue_without_a_name(tmp_path: Path) -> None:
    file = read_deployment_file(None, {}, tmp_path)
    assert (file.kind, file.name, file.workers.max, file.flashboot) == ("queue", None, 3, "FLASHBOOT")


def test_the_command_line_goes_before_the_file(tmp_path: Path) -> None:
    file = read(tmp_path, {"name": "a", "kind": "pod", "cpu": {"id": "cpu3c"}}, name="engineroom.yaml", gpu=("L4",))
    assert (file.name, file.kind, file.gpu, file.cpu) == ("a", "pod", ("L4",), None)


def test_words_of_yaml(tmp_path: Path) -> None:
    file = read(
        tmp_path, "gpu: L4\nflashboot: off\nenv: {MAX_MODEL_LEN: 8192, ENABLE_LORA: true, RATIO: 0.5}\ncuda: 12.9"
    )
    assert file.gpu == ("L4",)
    assert file.flashboot == "OFF"
    assert file.env == {"MAX_MODEL_LEN": "8192", "ENABLE_LORA": "true", "RATIO": "0.5"}
    assert file.cuda == "12.9"


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ({"nam": "a"}, "did you mean name"),
        ({"workers": {"maximum": 3}}, "workers.maximum"),
        ({"workers": {"min": 4, "max": 3}}, r"min \(4\) is greater than max \(3\)"),
        ({"workers": {"idle_timeout": 0}}, "workers.idle_timeout"),
        ({"kind": "serverless"}, "kind"),
        ({"name": "a,b"}, "letters, digits"),
        ({"scaling": {}}, "queue_delay or request_count"),
        ({"kind": "load-balancer", "scaling": {"queue_delay": 3}}, "request_count only"),
        ({"gpu": "L4", "cpu": {"id": "cpu3c"}}, "exclude each other"),
        ({"volume": {"name": "v", "size": 5}}, "volume.size"),
        ({"volume": {"name": "v", "data_center": "A"}, "data_centers": ["B"]}, "none of data_centers"),
        ({"image": "a/b:1", "cuda": "12.9"}, "exclude each other"),
        ({"env": {"A": ["b"]}}, "env.A"),
        ("[", "not valid YAML"),
        ("- a", "mapping"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: object, word: str) -> None:
    with pytest.raises(SettingsError, match=word):
        read(tmp_path, content)


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as raised:
        read(tmp_path, {"nam": "a", "timeout": 0, "disk": "much"})
    assert {problem.variable for problem in raised.value.problems} == {"nam", "timeout", "disk"}


def test_no_secret_is_in_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as raised:
        read(tmp_path, {"env": {"HF_TOKEN": ["hf_secret"]}})
    assert "hf_secret" not in str(raised.value)


def test_a_pod_of_runpod_llm_manager(tmp_path: Path) -> None:
    file = read(tmp_path, SEED, name="llm_config.json")
    assert (file.kind, file.model, file.gpu, file.gpu_count) == ("pod", "facebook/opt-125m", ("NVIDIA RTX 4090",), 2)
    assert (file.template, file.disk, file.name) == ("vllm", 20, "my-llm-pod")


def test_serverless_of_runpod_llm_manager(tmp_path: Path) -> None:
    file = read(tmp_path, {**SEED, "mode": "serverless"}, name="llm_config.json")
    assert (file.kind, file.name, file.workers.max, file.template) == ("queue", "my-llm-endpoint", 5, True)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"mode": "hybrid"}, "pod, serverless or auto"),
        ({"pod": {"template": "vllm"}}, "pod.template"),
        ({"model": {"name": "a/b", "path": "/models/b"}}, "model.path"),
        ({"model": "a/b"}, "model .*: must be an object"),
        ({"cache": {}}, "cache"),
    ],
)
def test_what_has_no_meaning_here_is_named(tmp_path: Path, change: dict[str, Any], word: str) -> None:
    with pytest.raises(SettingsError, match=word):
        read(tmp_path, {**SEED, **change}, name="llm_config.json")
