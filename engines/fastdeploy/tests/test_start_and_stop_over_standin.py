"""Starting and stopping, over the stand-in: readiness, failed starts and their reasons, and what is left behind."""

from __future__ import annotations

import json
import re
import signal
import stat
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from http_door import serving
from standin_hub import COMMIT, standin_hub

from engineroom.errors import EngineStartError
from engineroom.testing import running
from engineroom_fastdeploy import FastDeployEngine

from .conftest import KNOWN, VERSIONS, Configure, standin

SHM = Path("/dev/shm")


def ports(folder: Path) -> set[str]:
    """All that the engine whose temporary files are in `folder` has chosen. Call it while that runs."""
    (config,) = folder.glob("tmp/engineroom-*/fastdeploy.yaml")
    values = [value for name, value in yaml.safe_load(config.read_text()).items() if name.endswith("port")]
    return {port for value in values for port in str(value).split(",")}


def traces(folder: Path, ports: Iterable[object]) -> set[Path]:
    """Files in shared memory and locks of the FastDeploy on these ports, and ours where temporary files go.

    Whoever else runs one here, a test beside this one too, has other ports.
    """
    own = re.compile(rf"(?<!\d)({'|'.join(map(str, ports))})(?!\d)")
    named = (path for found in (SHM.iterdir(), Path("/tmp").glob("fd_*")) for path in found if own.search(path.name))
    return {*named, *folder.glob("tmp/*")}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def start_error(engine: FastDeployEngine) -> EngineStartError:
    try:
        with pytest.raises(EngineStartError) as failed:
            await engine.start()
        assert not engine.health().live
        return failed.value
    finally:
        await engine.stop()


async def environment_of(engine: FastDeployEngine) -> dict[str, Any]:
    environment: dict[str, Any] = json.loads(await engine.upstream.text("/standin/seen"))
    return environment


@pytest.mark.parametrize("version", ["2.3", "2.6"])
async def test_ready_is_health_200_and_nothing_else(tmp_path: Path, version: str) -> None:
    """404 while the worker says nothing, 304 while the weights are not there: 304 is no error to most clients."""
    with standin(version, tmp_path, STANDIN_HEALTH="404,304,404,200") as make:
        async with running(make()) as engine:
            assert engine.health().ready


@pytest.mark.parametrize("version", VERSIONS)
async def test_exit_code_0_before_ready_is_a_failure_with_the_workers_reason(tmp_path: Path, version: str) -> None:
    with standin(version, tmp_path, STANDIN_START="fail") as make:
        engine = make()
        error = await start_error(engine)
    assert "did not start: the GPU's memory is too small for MODEL_NAME=" in str(error)
    assert "workerlog.0: MemoryError: Out of memory error on GPU 0." in error.log
    assert any("Failed to launch worker processes" in line for line in error.log), "what the server itself said"
    assert "workerlog.0: Loading Weights:  12%" in error.log
    assert not traces(tmp_path, engine._ports)


@pytest.mark.parametrize("version", ["2.5"])
async def test_a_missing_model(tmp_path: Path, version: str) -> None:
    with standin(version, tmp_path, STANDIN_START="missing") as make:
        error = await start_error(make())
    assert "check MODEL_NAME and REVISION" in str(error)


@pytest.mark.parametrize("version", ["2.4"])
async def test_a_start_that_hangs_ends_with_the_workers_log(tmp_path: Path, version: str) -> None:
    """Before 2.5 the server waits for ever for a worker that has died."""
    with standin(version, tmp_path, STANDIN_START="stuck") as make:
        error = await start_error(make(START_TIMEOUT=8))
    assert "START_TIMEOUT" in str(error)
    assert "workerlog.0: Loading Weights:  12%" in error.log


@pytest.mark.parametrize("version", VERSIONS)
async def test_stop_leaves_nothing(configure: Configure, version: str, tmp_path: Path) -> None:
    """Its worker is in a session of its own, and it forgets sockets, locks and shared memory."""
    logs = tmp_path / "logs"
    async with running(configure(FD_LOG_DIR=str(logs))) as engine:
        worker = int((logs / "worker.pid").read_text())
        directory = engine.directory
        assert alive(worker)
        chosen = ports(tmp_path)
        left = {path for path in traces(tmp_path, chosen) if path.parent == SHM}
        assert len(left) >= 3, "the stand-in leaves files in shared memory"
    assert not alive(worker)
    assert not traces(tmp_path, chosen)
    assert directory is not None
    assert not directory.exists()
    assert logs.exists(), "logs that the user asked for stay"


@pytest.mark.parametrize("version", ["2.6"])
def test_nothing_is_left_when_the_worker_is_killed(tmp_path: Path, version: str) -> None:
    with standin(version, tmp_path), serving({**KNOWN, "MODEL_NAME": str(tmp_path / "tiny-model")}) as door:
        chosen = ports(tmp_path)
        assert traces(tmp_path, chosen)
        door.signal(signal.SIGKILL)
        door.ended()
        deadline = time.monotonic() + 60
        while left := traces(tmp_path, chosen):
            assert time.monotonic() < deadline, f"left behind: {left}"
            time.sleep(0.05)


@pytest.mark.parametrize("version", VERSIONS)
async def test_its_environment_and_its_options(configure: Configure, version: str) -> None:
    async with running(configure(MAX_MODEL_LEN=1024, ENABLE_PREFIX_CACHING="false")) as engine:
        found = await environment_of(engine)
        environ, options = found["environ"], found["options"]
        assert environ["DO_NOT_TRACK"] == "1"
        assert environ["FD_LOG_DIR"] == f"{engine.directory}/log"
        assert environ["PROMETHEUS_MULTIPROC_DIR"] == f"{engine.directory}/prometheus", "by default it is in /tmp"
        assert environ.get("ZMQ_SEND_BATCH_DATA") == ("0" if version == "2.6" else None)
        asked = environ.get("FD_ENABLE_REQUEST_DISCONNECT_STOP_INFERENCE")
        assert asked == ("1" if version in ("2.5", "2.6") else None)
        assert (options["host"], options["max_model_len"], options["enable_prefix_caching"]) == (
            "127.0.0.1",
            1024,
            False,
        )
        assert engine.directory is not None
        config = engine.directory / "fastdeploy.yaml"
        assert stat.S_IMODE(engine.directory.stat().st_mode) == 0o700, "options may hold passwords"
        assert set(yaml.safe_load(config.read_text())) <= set(options), "no name that this version does not know"


@pytest.mark.parametrize("version", ["2.6"])
async def test_a_server_that_ends_by_itself_is_noticed(configure: Configure, version: str) -> None:
    """When a worker dies FastDeploy ends its server, with 0."""
    async with running(configure()) as engine:
        assert (await engine.upstream.post("/standin/die", {}))[0] == 200
        reason = await engine.died()
    assert "exited with code 0" in reason


@pytest.mark.parametrize("version", ["2.5"])
async def test_a_model_on_the_hub_is_not_left_to_fastdeploy(
    tmp_path: Path, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own downloader asks another hub and hides errors."""
    files = {"config.json": b"{}", "model.safetensors": b"weights"}
    with standin_hub(repositories={"org/model": files}) as hub, standin(version, tmp_path) as make:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
        async with running(make(MODEL_NAME="org/model")) as engine:
            options = (await environment_of(engine))["options"]
            assert options["model"] == f"{tmp_path}/cache/hub/models--org--model/snapshots/{COMMIT}"
            assert (options["served_model_name"], engine.models) == ("org/model", ("org/model",))
        error = await start_error(make(MODEL_NAME="org/other"))
        assert "the hub has no repository org/other" in str(error)
        async with running(make(MODEL_NAME="org/other", FD_MODEL_SOURCE="AISTUDIO")) as engine:
            assert (await environment_of(engine))["options"]["model"] == "org/other", "left to FastDeploy where asked"


@pytest.mark.parametrize("version", ["2.5"])
async def test_a_model_in_a_cache_is_found(configure: Configure, tmp_path: Path) -> None:
    snapshot = tmp_path / "huggingface-cache" / "hub" / "models--org--cached" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").touch()
    async with running(configure(MODEL_NAME="org/cached", BASE_PATH=str(tmp_path))) as engine:
        assert (await environment_of(engine))["options"]["model"] == str(snapshot)
        assert engine.models == ("org/cached",)
