"""Model resolution: what a user's MODEL_NAME may mean, and what the model is called then."""

import json
from pathlib import Path

import pytest

from engineroom.models import ModelFiles, cache_folders, is_whole, resolve, weights
from engineroom.server import ReadAhead


def cached(cache: Path, folder: str, commit: str = "abc", ref: str | None = "main") -> Path:
    snapshot = cache / folder / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (snapshot / "model.safetensors").write_bytes(b"weights")
    if ref:
        (cache / folder / "refs").mkdir(exist_ok=True)
        (cache / folder / "refs" / ref).write_text(commit)
    return snapshot


def test_a_local_folder_is_taken_as_it_is_and_called_by_its_name(tmp_path: Path) -> None:
    model = tmp_path / "my-model"
    model.mkdir()
    assert resolve(str(model)) == ModelFiles("my-model", model)


def test_a_path_into_a_cache_is_called_by_its_repository(tmp_path: Path) -> None:
    snapshot = cached(tmp_path, "models--Qwen--Qwen3-8B")
    assert resolve(str(snapshot)).name == "Qwen/Qwen3-8B"


@pytest.mark.parametrize("folder", ["models--Qwen--Qwen3-8B", "models--qwen--qwen3-8b"])
def test_a_repository_is_found_in_a_cache_of_either_case_and_keeps_its_name(tmp_path: Path, folder: str) -> None:
    snapshot = cached(tmp_path, folder)
    assert resolve("Qwen/Qwen3-8B", caches=[tmp_path / "none", tmp_path]) == ModelFiles("Qwen/Qwen3-8B", snapshot)


def test_a_revision_is_a_branch_or_a_commit(tmp_path: Path) -> None:
    main = cached(tmp_path, "models--a--b")
    other = cached(tmp_path, "models--a--b", "def", ref="v2")
    assert resolve("a/b", caches=[tmp_path]).folder == main
    assert resolve("a/b", "v2", [tmp_path]).folder == other
    assert resolve("a/b", "def", [tmp_path]).folder == other
    assert resolve("a/b", "v3", [tmp_path]).folder is None


def test_the_only_snapshot_will_do_where_no_branch_is_noted(tmp_path: Path) -> None:
    snapshot = cached(tmp_path, "models--a--b", ref=None)
    assert resolve("a/b", caches=[tmp_path]).folder == snapshot
    cached(tmp_path, "models--a--b", "def", ref=None)
    assert resolve("a/b", caches=[tmp_path]).folder is None


def test_a_download_that_was_broken_off_does_not_count(tmp_path: Path) -> None:
    snapshot = cached(tmp_path, "models--a--b")
    index = {"weight_map": {"x": "model.safetensors", "y": "model-2.safetensors"}}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps(index))
    assert not is_whole(snapshot)
    assert resolve("a/b", caches=[tmp_path]).folder is None
    (snapshot / "model-2.safetensors").touch()
    assert is_whole(snapshot)


def test_safetensors_are_the_weights_where_there_are_several_formats(tmp_path: Path) -> None:
    for name in ("pytorch_model.bin", "b.safetensors", "a.safetensors"):
        (tmp_path / name).touch()
    assert [file.name for file in weights(tmp_path)] == ["a.safetensors", "b.safetensors"]


def test_caches_are_the_environment_s_own_then_the_volume_s() -> None:
    own, *volume, scope, older = cache_folders({"HF_HOME": "/hf", "MODELSCOPE_CACHE": "/scope"}, "/runpod-volume")
    assert own == Path("/hf/hub")
    assert volume == [Path("/runpod-volume/huggingface-cache/hub"), Path("/runpod-volume/huggingface-cache")]
    assert (scope, older) == (Path("/scope"), Path("/scope/hub"))


@pytest.mark.parametrize("folder", ["models/Qwen/Qwen2___5", "hub/models/Qwen/Qwen2___5", "hub/Qwen/Qwen2.5"])
def test_a_model_that_modelscope_downloaded_is_found(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "model.safetensors").write_bytes(b"weights")
    caches = cache_folders({"MODELSCOPE_CACHE": str(tmp_path)})
    assert resolve("Qwen/Qwen2.5", caches=caches) == ModelFiles("Qwen/Qwen2.5", tmp_path / folder)
    assert resolve("Qwen/Qwen2.5", "v1", caches).folder is None, "nothing tells which revision it is"


def test_a_revision_that_modelscope_downloaded_is_found(tmp_path: Path) -> None:
    snapshot = cached(tmp_path / "models", "Qwen--Qwen2.5", "v1", ref=None)
    assert resolve("Qwen/Qwen2.5", "v1", [tmp_path]).folder == snapshot


async def test_reading_ahead_ends_when_it_is_told_to(tmp_path: Path) -> None:
    for number in range(8):
        (tmp_path / f"{number}.safetensors").write_bytes(bytes(1 << 20))
    ahead = ReadAhead(weights(tmp_path))
    ahead.start()
    await ahead.stop()
    await ahead.stop()
