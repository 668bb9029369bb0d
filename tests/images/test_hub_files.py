"""The files for RunPod's Hub and console: fresh, well-formed, and every default one that the engines accept."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from engineroom import plugins
from engineroom.hardware import Matrix
from engineroom.settings import Environment

from .conftest import ROOT

ROWS = Matrix.load(ROOT / "docker/matrix.json").rows


def read(name: str) -> Any:
    return json.loads((ROOT / name).read_text())


def test_nothing_is_stale() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools/generate.py"), "--check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_hub_s_file_has_what_runpod_asks_for() -> None:
    hub = read(".runpod/hub.json")
    assert hub == read("hub.json")
    assert {"title", "description", "type", "category", "config"} <= set(hub)
    config = hub["config"]
    assert {"runsOn", "containerDiskInGb", "gpuCount", "gpuIds", "allowedCudaVersions", "presets", "env"} <= set(config)
    assert config["gpuIds"]
    assert config["allowedCudaVersions"]
    keys = [entry["key"] for entry in config["env"]]
    assert len(keys) == len(set(keys))
    assert keys[0] == "MODEL_NAME"
    for entry in config["env"]:
        given = entry["input"]
        assert given["type"] in ("string", "number", "boolean", "huggingface"), entry
        assert given["description"], entry
        if "options" in given:
            assert given["type"] == "string"
            assert given.get("default") in (None, *(option["value"] for option in given["options"])), entry


def test_the_hub_finds_what_it_looks_for() -> None:
    wanted = (".runpod/handler.py", ".runpod/hub.json", ".runpod/tests.json", "Dockerfile", "README.md")
    assert not [name for name in wanted if not (ROOT / name).is_file()]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("source", ["hub", "console"])
def test_every_default_is_one_that_the_engine_accepts(row: Any, source: str) -> None:
    if source == "hub":
        defaults = {
            e["key"]: e["input"]["default"] for e in read("hub.json")["config"]["env"] if "default" in e["input"]
        }
    else:
        config = read("worker-config.json")
        names = [name for group in config["versions"][row.name]["categories"] for name in group["settings"]]
        defaults = {name: value for name in names if (value := config["schema"][name]["value"]) != ""}
    assert defaults
    here = {"FASTDEPLOY_VERSION": row.version} if row.engine == "fastdeploy" else {}
    plugins.open_engine(Environment.of({"MODEL_NAME": "org/model", **defaults, "ENGINE": row.engine, **here}))


@pytest.mark.parametrize("preset", read("hub.json")["config"]["presets"], ids=lambda preset: preset["name"])
def test_every_preset_is_one_that_the_engine_accepts(preset: dict[str, Any]) -> None:
    plugins.open_engine(Environment.of({**preset["defaults"], "ENGINE": ROWS[0].engine}))


def test_the_hub_s_tests_are_jobs() -> None:
    from engineroom.jobs import JobInput

    engine = plugins.open_engine(Environment.of({"ENGINE": "echo"}))
    tests = read(".runpod/tests.json")
    assert all(variable.keys() == {"key", "value"} for variable in tests["config"]["env"])
    for test in tests["tests"]:
        JobInput.parse(test["input"], engine)


def test_every_image_is_in_the_console_s_file() -> None:
    config = read("worker-config.json")
    assert list(config["versions"]) == [row.name for row in ROWS]
    for version in config["versions"].values():
        assert all(name in config["schema"] for group in version["categories"] for name in group["settings"])
