"""`engineroom config` says what `engineroom serve` will do: the same last line, the same exit code."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
from http_door import serving
from prepared_python import engineroom

UNUSABLE = [
    {"HOST": "no-such-machine.invalid"},
    {"HOST": "127.0.0.1:8000"},
    {"HOST": "*"},
    {"HOST": "203.0.113.7"},
    {"HOST": "0.0.0.0", "AUTH_TOKEN": "sk-canary"},
    {"MAX_REQUEST_MB": "1e308"},
    {"CACHE_TTL": "1", "CACHE_MAX_MB": "1e308"},
    {"ENGINE": "llamacpp", "N_GPU_LAYERS": "yes"},
    {"ENGINE": "llamacpp", "TENSOR_SPLIT": "a,b"},
    {"ENGINE": "llamacpp", "LORA_SCALED": "adapter.gguf:half"},
    {"LOG_LEVEL": "loud", "HOST": "*", "MAX_REQUEST_MB": "4GB"},
]


def run(arguments: Sequence[str], settings: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """The command in an empty folder, and in an environment of these settings alone."""
    env = {"PATH": os.environ["PATH"], "ENGINE": "echo", "PORT": "0", **settings}
    return engineroom(*arguments, environ=env, folder=folder)


@pytest.mark.parametrize("settings", UNUSABLE, ids=lambda settings: " ".join(settings.values()))
def test_config_refuses_what_a_start_refuses(settings: dict[str, str], tmp_path: Path) -> None:
    foretold = run(["config"], settings, tmp_path)
    started = run(["serve"], settings, tmp_path)
    assert (foretold.returncode, started.returncode) == (2, 2), foretold.stderr + started.stderr
    assert foretold.stderr.strip() == started.stderr.strip()
    assert "Traceback" not in started.stderr
    assert "canary" not in foretold.stdout + foretold.stderr + started.stderr


def test_words_count_in_any_case_and_long_waits_are_no_mistake() -> None:
    """LOG_LEVEL=info stands in many environments; the kernel's own limits are not the user's business."""
    settings = {"ENGINE": "echo", "LOG_LEVEL": "info", "LOG_FORMAT": "TEXT", "CLIENT_TIMEOUT": "1e9"}
    with serving(settings) as door:
        assert httpx.get(f"{door.url}/ping").status_code == 200


@pytest.mark.parametrize(
    ("engine", "remedy"),
    [("vLLM", "did you mean vllm?"), ("ECHO", "did you mean echo?"), ("aphrodite", "set it to one of these")],
)
def test_an_engine_that_is_not_there_has_a_remedy_that_works(engine: str, remedy: str, tmp_path: Path) -> None:
    answer = run(["config"], {"ENGINE": engine}, tmp_path)
    assert remedy in answer.stderr
    assert "pip install" not in answer.stderr


def test_a_list_of_keys_in_a_file_is_the_keys(tmp_path: Path) -> None:
    file = tmp_path / "engineroom.yaml"
    file.write_text("engine: echo\napi_keys: [sk-canary, laptop:sk-b]\n")
    with serving({"ENGINEROOM_CONFIG": str(file)}) as door:
        url = f"{door.url}/v1/models"
        answers = [httpx.get(url, headers={"authorization": f"Bearer {key}"}) for key in ("sk-canary", "sk-b", "x")]
        assert [answer.status_code for answer in answers] == [200, 200, 401]
