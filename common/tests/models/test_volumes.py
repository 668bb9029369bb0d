"""Caches on a volume that is full or read-only go to the machine's own disk, with one warning."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import need

from engineroom.models import cache_folders, hub_environ, resolve, volumes


@pytest.fixture(params=["full", "read-only"])
def volume(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system that takes nothing more, with a model on it."""
    need("mount", "--version")
    place = tmp_path / "volume"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        snapshot = place / "hub" / "models--org--name" / "snapshots" / "abc"
        snapshot.mkdir(parents=True)
        (snapshot / "model.safetensors").write_bytes(b"weights")
        if request.param == "read-only":
            subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture(autouse=True)
def own_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path / f"engineroom-caches-{os.getuid()}"


def test_caches_move_with_one_warning(volume: Path, own_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    given = {"HF_HOME": str(volume), "COMPILED": str(volume / "new" / "folder"), "OTHER": str(own_disk.parent)}
    for _ in range(2):
        environ = hub_environ(given, str(volume), caches=("COMPILED", "OTHER", "UNSET"))
    assert environ["HF_HOME"] == str(own_disk / "hf_home")
    assert environ["COMPILED"] == str(own_disk / "compiled")
    assert environ["OTHER"] == str(own_disk.parent)
    assert "UNSET" not in environ
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"nothing can be written to {volume}: ")
    assert "HF_HOME and COMPILED go to this machine's own disk" in line
    assert own_disk.stat().st_mode & 0o077 == 0


def test_what_is_on_it_is_still_read(volume: Path) -> None:
    environ = hub_environ({"HF_HOME": str(volume)}, "/no/volume")
    files = resolve("org/name", None, cache_folders(environ, "/no/volume"))
    assert files.folder == volume / "hub" / "models--org--name" / "snapshots" / "abc"


def test_a_volume_that_nobody_named_is_told_of(volume: Path, caplog: pytest.LogCaptureFixture) -> None:
    environ = hub_environ({}, str(volume))
    assert "HF_HOME" not in environ
    (line,) = [record.getMessage() for record in caplog.records]
    assert "models and what is compiled go to this machine's own disk" in line


def test_offline_the_hub_s_caches_stay(volume: Path) -> None:
    environ = hub_environ({"HF_HOME": str(volume), "HF_HUB_OFFLINE": "1"}, "/no/volume")
    assert environ["HF_HOME"] == str(volume)


def test_a_volume_with_room_is_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert hub_environ({}, str(tmp_path))["HF_HOME"] == str(tmp_path / "huggingface-cache")
    assert not caplog.records


def test_a_folder_of_somebody_else_is_not_taken(own_disk: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    own_disk.symlink_to(tmp_path / "elsewhere")
    assert volumes.own_disk().parent == tmp_path
    assert volumes.own_disk() != own_disk
