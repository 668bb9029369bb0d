"""`engineroom pull` and `engineroom models`, as a person runs them, over a stand-in for the hub."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prepared_python import engineroom as run_engineroom
from standin_hub import COMMIT, StandinHub, standin_hub

COMMAND = str(Path(sys.executable).with_name("engineroom"))
PIECE = 16384
FOUR_BITS = b"GGUF" + bytes(range(256)) * 1200
REPOSITORIES = {
    "org/Small-GGUF": {
        "README.md": b"# Small",
        "Small-Q4_K_M.gguf": FOUR_BITS,
        "Small-Q8_0.gguf": b"GGUF, eight bits",
        "mmproj-F16.gguf": b"GGUF, a projector",
    },
    "org/Parts-GGUF": {f"Parts-Q8_0-0000{n}-of-00002.gguf": b"GGUF" + bytes(n) for n in (1, 2)},
    "org/Plain": {
        "config.json": b'{"architectures": ["LlamaForCausalLM"], "dtype": "bfloat16"}',
        "model.safetensors": b"not really weights",
        "pytorch_model.bin": b"the same once more",
    },
}


@pytest.fixture
def hub() -> Iterator[StandinHub]:
    with standin_hub(repositories=REPOSITORIES) as running:
        yield running


def environ(hub: StandinHub, home: Path, **more: str) -> dict[str, str]:
    own = {"PATH": os.environ["PATH"], "HOME": str(home), "HF_ENDPOINT": hub.url}
    return {**own, "BASE_PATH": str(home / "volume"), **more}


def engineroom(hub: StandinHub, home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return run_engineroom(*arguments, environ=environ(hub, home, **more), folder=home)


def snapshot(home: Path, repository: str) -> Path:
    return home / f".cache/huggingface/hub/models--{repository.replace('/', '--')}/snapshots/{COMMIT}"


def test_a_model_is_downloaded_once_and_where_it_is_and_how_to_serve_it_is_printed(
    hub: StandinHub, tmp_path: Path
) -> None:
    done = engineroom(hub, tmp_path, "pull", f"{hub.url}/org/Small-GGUF")
    assert done.returncode == 0, done.stderr
    file = snapshot(tmp_path, "org/Small-GGUF") / "Small-Q4_K_M.gguf"
    assert file.read_bytes() == FOUR_BITS
    assert (file.parent / "mmproj-F16.gguf").exists()
    assert not (file.parent / "Small-Q8_0.gguf").exists()
    assert str(file) in done.stdout
    assert "engineroom serve org/Small-GGUF\n" in done.stdout
    assert "using Q4_K_M; it also has Q8_0, named as org/Small-GGUF:Q8_0" in done.stderr
    sent = hub.sent
    again = engineroom(hub, tmp_path, "pull", "org/Small-GGUF")
    assert again.returncode == 0, again.stderr
    assert hub.sent == sent


def test_a_split_model_is_downloaded_with_all_its_parts(hub: StandinHub, tmp_path: Path) -> None:
    done = engineroom(hub, tmp_path, "pull", "org/Parts-GGUF:Q8_0")
    assert done.returncode == 0, done.stderr
    assert sorted(file.name[-10:] for file in snapshot(tmp_path, "org/Parts-GGUF").iterdir()) == [
        "00002.gguf",
        "00002.gguf",
    ]


def test_a_model_that_is_there_needs_no_hub_if_only_what_is_missing_is_wanted(hub: StandinHub, tmp_path: Path) -> None:
    wanted = ("pull", "--if-missing", "org/Small-GGUF:Q8_0")
    (tmp_path / "volume").mkdir()
    done = engineroom(hub, tmp_path, *wanted)
    assert done.returncode == 0, done.stderr
    away = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    again = engineroom(hub, tmp_path, *wanted, **away)
    assert again.returncode == 0, again.stderr
    assert "org/Small-GGUF:Q8_0 is on this machine already" in again.stdout
    assert str(tmp_path / "volume") in again.stdout
    # Another quantisation of the same repository is not there.
    assert engineroom(hub, tmp_path, "pull", "--if-missing", "org/Small-GGUF:Q4_K_M", **away).returncode == 1


def test_weights_for_which_no_engine_is_ready_are_downloaded_with_what_to_install(
    hub: StandinHub, tmp_path: Path
) -> None:
    done = engineroom(hub, tmp_path, "pull", "org/Plain", ENGINEROOM_ENGINES="llamacpp,vllm,echo", VLLM_PYTHON="/no")
    assert done.returncode == 0, done.stderr
    assert {file.name for file in snapshot(tmp_path, "org/Plain").iterdir()} == {"config.json", "model.safetensors"}
    assert "vllm: vLLM in /no" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_download_goes_on_where_it_was_broken_off(hub: StandinHub, tmp_path: Path, number: signal.Signals) -> None:
    """And what was broken off never passes for a model."""
    hub.piece_delay = 0.1
    process = subprocess.Popen(
        [COMMAND, "pull", "org/Small-GGUF"], env=environ(hub, tmp_path), stderr=subprocess.PIPE, text=True
    )
    blobs = tmp_path / ".cache/huggingface/hub/models--org--Small-GGUF/blobs"
    deadline = time.monotonic() + 60
    while not any(file.stat().st_size > 2 * PIECE for file in blobs.glob("*.incomplete")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    if number is not signal.SIGKILL:
        assert process.returncode == 130
        assert "what has been downloaded is kept" in errors
    assert "Traceback" not in errors
    listed = engineroom(hub, tmp_path, "models").stdout
    assert "incomplete" in next(line for line in listed.splitlines() if line.startswith("org/Small-GGUF"))
    while number is signal.SIGKILL and list(Path("/proc").glob(f"{process.pid}/fd/0")):
        time.sleep(0.02)
    hub.piece_delay = 0
    done = engineroom(hub, tmp_path, "pull", "org/Small-GGUF")
    assert done.returncode == 0, done.stderr
    assert (snapshot(tmp_path, "org/Small-GGUF") / "Small-Q4_K_M.gguf").read_bytes() == FOUR_BITS
    assert hub.ranges["Small-Q4_K_M.gguf"][0] == ""
    assert hub.ranges["Small-Q4_K_M.gguf"][-1].startswith("bytes=")
    assert not list(blobs.glob("*.incomplete"))


def test_a_connection_that_breaks_is_taken_up_again(hub: StandinHub, tmp_path: Path) -> None:
    hub.break_after = 12 * PIECE  # 128 KiB are written at once
    done = engineroom(hub, tmp_path, "pull", "org/Small-GGUF")
    assert done.returncode == 0, done.stderr
    assert (snapshot(tmp_path, "org/Small-GGUF") / "Small-Q4_K_M.gguf").read_bytes() == FOUR_BITS
    assert hub.ranges["Small-Q4_K_M.gguf"] == ["", f"bytes={8 * PIECE}-"]


def test_what_is_not_what_the_hub_says_is_not_kept(hub: StandinHub, tmp_path: Path) -> None:
    hub.corrupt = True
    done = engineroom(hub, tmp_path, "pull", "org/Small-GGUF")
    assert done.returncode == 1
    assert "does not have the SHA-256 that the hub states" in done.stderr
    assert not list(tmp_path.rglob("*.gguf"))
    hub.corrupt = False
    assert engineroom(hub, tmp_path, "pull", "org/Small-GGUF").returncode == 0


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        ("org/none", {}, "the hub has no repository org/none, or it is private and HF_TOKEN is not set"),
        ("org/none", {"HF_TOKEN": "hf_x"}, "or the account of HF_TOKEN has no access to it"),
        ("org/Plain", {"MODEL_REVISION": "v9"}, "no such branch, tag or commit: check MODEL_REVISION"),
        ("org/Small-GGUF:Q2_K", {}, "no GGUF file Q2_K; it has Small-Q4_K_M.gguf, Small-Q8_0.gguf"),
        (
            "org/Plain",
            {"ENGINE": "llamacpp"},
            "safetensors weights, and the engine loads GGUF: unset ENGINE",
        ),
        ("org/Plain", {"HF_ENDPOINT": "http://127.0.0.1:1"}, "the hub http://127.0.0.1:1 cannot be reached"),
        ("org/Plain", {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
        ("nothing", {}, "is not a repository of a hub"),
    ],
)
def test_a_refusal_is_one_line_that_says_what_to_do(
    hub: StandinHub, tmp_path: Path, model: str, settings: dict[str, str], message: str
) -> None:
    done = engineroom(hub, tmp_path, "pull", model, **settings)
    assert done.returncode in (1, 2)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert message in line
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("blobs/*"))


def test_a_gated_model_names_the_token(hub: StandinHub, tmp_path: Path) -> None:
    hub.token = "hf_right"
    assert "is gated" in engineroom(hub, tmp_path, "pull", "org/Plain").stderr
    assert "set HF_TOKEN" in engineroom(hub, tmp_path, "pull", "org/Plain").stderr
    assert "the account of HF_TOKEN" in engineroom(hub, tmp_path, "pull", "org/Plain", HF_TOKEN="hf_wrong").stderr
    assert engineroom(hub, tmp_path, "pull", "org/Plain", HF_TOKEN="hf_right").returncode == 0


def test_a_hub_that_says_nothing_is_waited_for_no_longer_than_that(hub: StandinHub, tmp_path: Path) -> None:
    hub.silent = True
    done = engineroom(hub, tmp_path, "pull", "org/Plain")
    assert done.returncode == 1
    assert f"the hub {hub.url} cannot be reached" in done.stderr
    assert len(hub.asked) == 1, "it is asked once"


def test_a_disk_that_is_too_small_is_noticed_before_the_download(hub: StandinHub, tmp_path: Path) -> None:
    hub.lengths["Small-Q4_K_M.gguf"] = 10**18
    done = engineroom(hub, tmp_path, "pull", "org/Small-GGUF")
    assert done.returncode == 1
    assert "the disk is too small for org/Small-GGUF: 1000000.0 TB are still to be downloaded" in done.stderr
    assert hub.sent == 0


def test_models_lists_what_is_here_and_who_takes_it(hub: StandinHub, tmp_path: Path) -> None:
    engineroom(hub, tmp_path, "pull", "org/Plain")
    engineroom(hub, tmp_path, "pull", "org/Small-GGUF")
    engineroom(hub, tmp_path, "pull", "org/Small-GGUF:Q8_0")
    own = tmp_path / "models"
    own.mkdir()
    (own / "mine-Q5_K_M.gguf").write_bytes(FOUR_BITS)
    (own / "cut").mkdir()
    (own / "cut/model.safetensors.index.json").write_text(
        '{"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}'
    )
    (own / "cut/a.safetensors").touch()
    engines = {"ENGINEROOM_ENGINES": "llamacpp,vllm", "VLLM_PYTHON": "/no"}
    listed = engineroom(hub, tmp_path, "models", str(own), **engines).stdout
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in listed.splitlines()[1:] if line}
    assert rows["org/Small-GGUF:Q4_K_M"] == "307 kB GGUF Q4_K_M llamacpp"
    assert rows["org/Small-GGUF:Q8_0"] == "16 B GGUF Q8_0 llamacpp"
    assert rows["org/Plain"] == "18 B safetensors bfloat16 needs vllm"
    assert rows["~/models/mine-Q5_K_M.gguf"] == "307 kB GGUF Q5_K_M llamacpp"
    assert rows["~/models/cut"] == "0 B safetensors incomplete"
    assert "mine-Q5_K_M" not in engineroom(hub, tmp_path, "models", **engines).stdout
    narrow = engineroom(hub, tmp_path, "models", COLUMNS="40", **engines).stdout
    assert "\norg/Small-GGUF:Q8_0\n  16 B, GGUF Q8_0, llamacpp\n" in narrow, "a name is never broken"


def test_models_says_what_to_do_where_there_is_none(hub: StandinHub, tmp_path: Path) -> None:
    done = engineroom(hub, tmp_path, "models", ENGINEROOM_ENGINES="echo")
    assert done.returncode == 0
    assert "No model is on this machine. `engineroom pull" in done.stdout
