"""`engineroom fit` and `engineroom traffic` from a shell: what they print, and how they exit."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from known_models import LLAMA_8B
from model_headers import safetensors
from prepared_python import engineroom
from standin_hub import StandinHub, standin_hub

EIGHT_B = {
    "model.embed_tokens.weight": ("BF16", [128256, 4096]),
    "lm_head.weight": ("BF16", [128256, 4096]),
    "model.layers.0.mlp.weight": ("BF16", [1_700_000, 4096]),
}


@pytest.fixture(scope="module")
def hub() -> Iterator[StandinHub]:
    files = {"config.json": json.dumps(LLAMA_8B).encode(), "model.safetensors": safetensors(EIGHT_B)}
    with standin_hub(repositories={"org/Eight": files}) as running:
        yield running


def run(*arguments: str, hub: StandinHub, home: Path, columns: int = 80) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "HF_ENDPOINT": hub.url, "COLUMNS": str(columns)}
    return engineroom(*arguments, environ=environ, folder=home)


@pytest.mark.parametrize("columns", [80, 120])
def test_the_table_fits_the_terminal(columns: int, hub: StandinHub, tmp_path: Path) -> None:
    done = run("fit", "org/Eight", hub=hub, home=tmp_path, columns=columns)
    assert done.returncode == 0, done.stderr
    assert max(len(line) for line in done.stdout.splitlines()) <= columns
    assert "RTX 3090" in done.stdout
    assert "Prices were recorded between 2026-" in done.stdout
    assert "an estimate, no measurement" in done.stdout.replace("\n", " ")
    assert "MAX_MODEL_LEN=8192" in done.stdout


def test_json_has_what_the_table_has_and_more(hub: StandinHub, tmp_path: Path) -> None:
    done = run("fit", "org/Eight", "--json", "--gpu", "L4", "--gpu", "h100", "--context", "16k", hub=hub, home=tmp_path)
    answer: dict[str, Any] = json.loads(done.stdout)
    assert [row["name"] for row in answer["gpus"]] == ["L4", "H100 PCIe", "H100 NVL", "H100 SXM"]
    assert answer["demand"]["context_tokens"] == 16384
    assert answer["model"]["cache_bytes_per_token"] == 131072
    first = answer["gpus"][0]
    assert first["pool"] == "AMPERE_24"
    assert first["need"]["total_bytes"] <= first["budget_bytes"]
    assert first["settings"] == {"MAX_MODEL_LEN": "16384"}


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (
            ["--gpu", "A4000", "--tensor-parallel", "1", "--context", "32k"],
            1,
            "Not on RTX A4000: 14.9 GiB of weights",
        ),
        (["--gpu", "GTX 9000"], 1, "there is no GPU called 'GTX 9000'"),
        (["--engine", "nothing"], 2, "no engine called 'nothing'"),
        (["--engine", "llamacpp"], 1, "llamacpp does not load safetensors weights"),
        (["--engine", "echo"], 1, "echo does not say how it uses a GPU's memory"),
        (["--kv-cache-dtype", "fp3"], 1, "vllm has no cache of the type fp3; it has auto, bfloat16"),
        (["--context", "lots"], 2, "lots is no number of tokens"),
        (["--context", "300k"], 1, "a context of 131,072 tokens, not 307,200"),
        (["--tensor-parallel", "3"], 1, "32 attention heads cannot be divided by 3"),
    ],
)
def test_what_cannot_be_is_named(arguments: list[str], code: int, text: str, hub: StandinHub, tmp_path: Path) -> None:
    done = run("fit", "org/Eight", *arguments, hub=hub, home=tmp_path, columns=200)
    assert text in done.stdout + done.stderr
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def test_a_name_with_brackets_is_printed_as_it_is(hub: StandinHub, tmp_path: Path) -> None:
    folder = tmp_path / "[red]model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(LLAMA_8B))
    (folder / "model.safetensors").write_bytes(safetensors(EIGHT_B))
    done = run("fit", "./[red]model", "--gpu", "L4", hub=hub, home=tmp_path)
    assert "./[red]model: " in done.stdout, done.stderr


def test_traffic_says_which_way_is_better(hub: StandinHub, tmp_path: Path) -> None:
    few = run("traffic", "org/Eight", "--requests", "8:5", hub=hub, home=tmp_path)
    assert "serverless: a day of serverless costs" in few.stdout, few.stderr
    many = run("traffic", "org/Eight", "--requests", "9000", "--json", hub=hub, home=tmp_path)
    answer = json.loads(many.stdout)
    assert answer["decision"]["mode"] == "pod"
    assert len(answer["decision"]["hours"]) == 24
    missing = run("traffic", "org/Eight", hub=hub, home=tmp_path)
    assert "either --requests" in missing.stderr
    assert missing.returncode == 2
