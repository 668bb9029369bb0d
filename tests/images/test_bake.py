"""`engineroom bake`, and what the hub refuses, over a stand-in for the hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from standin_hub import COMMIT, REPOSITORY, StandinHub, standin_hub

TOKEN = "hf_secret_canary"


@pytest.fixture
def hub() -> Iterator[StandinHub]:
    with standin_hub(TOKEN) as running:
        yield running


def bake(hub: StandinHub, folder: Path, token: str | None = TOKEN, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command as an image's build does, with the token in a file."""
    secret, noted = folder / "secret", folder / "local_model_args.json"
    if token is not None:
        secret.write_text(token)
    return subprocess.run(
        [str(Path(sys.executable).with_name("engineroom")), "bake", "--secret", str(secret), "--arguments", str(noted)],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "HF_ENDPOINT": hub.url,
            "ENGINE": "echo",
            "BASE_PATH": str(folder / "models"),
            "MODEL_NAME": REPOSITORY,
            **environ,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def arguments(folder: Path) -> dict[str, str]:
    noted: dict[str, str] = json.loads((folder / "local_model_args.json").read_text())
    return noted


def test_a_model_is_downloaded_and_noted_without_its_weights_in_other_formats(hub: StandinHub, tmp_path: Path) -> None:
    done = bake(hub, tmp_path)
    assert done.returncode == 0, done.stderr
    folder = Path(arguments(tmp_path)["MODEL_NAME"])
    assert folder == tmp_path / f"models/huggingface-cache/hub/models--Gated--Tiny.Model/snapshots/{COMMIT}"
    assert (folder / "model.safetensors").read_bytes() == b"not really weights"
    assert not (folder / "pytorch_model.bin").exists()


def test_the_token_is_sent_to_the_hub_and_left_nowhere(hub: StandinHub, tmp_path: Path) -> None:
    done = bake(hub, tmp_path)
    (tmp_path / "secret").unlink()
    assert {authorisation for path, authorisation in hub.asked if REPOSITORY in path} == {f"Bearer {TOKEN}"}
    assert TOKEN not in done.stdout + done.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]


def test_a_quantisation_behind_a_colon_chooses_the_gguf_file(hub: StandinHub, tmp_path: Path) -> None:
    done = bake(hub, tmp_path, MODEL_NAME=f"{REPOSITORY}:q8_0")
    assert done.returncode == 0, done.stderr
    assert Path(arguments(tmp_path)["MODEL_NAME"]).name == "tiny-Q8_0.gguf"
    assert (
        "no GGUF file Q2; it has tiny-Q4_K_M.gguf, tiny-Q8_0.gguf"
        in bake(hub, tmp_path, MODEL_NAME=f"{REPOSITORY}:Q2").stderr
    )


@pytest.mark.parametrize(
    ("token", "environ", "message"),
    [
        (None, {}, f"{REPOSITORY} is gated: ask for access on its page with your account, and set HF_TOKEN"),
        ("hf_other", {}, f"{REPOSITORY} is gated: ask for access on its page with the account of HF_TOKEN"),
        (None, {"MODEL_NAME": "no/such"}, "the hub has no repository no/such, or it is private"),
        (None, {"MODEL_NAME": ""}, "MODEL_NAME: is not set; name the model to download"),
        (None, {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
        (TOKEN, {"QUANTIZATION": "awq"}, "QUANTIZATION (from baked arguments): is ignored: this engine has no"),
    ],
)
def test_a_refusal_says_what_to_do(
    hub: StandinHub, tmp_path: Path, token: str | None, environ: dict[str, str], message: str
) -> None:
    done = bake(hub, tmp_path, token, **environ)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "local_model_args.json").exists()
