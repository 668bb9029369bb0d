"""The files for RunPod's Hub and console: fresh, well-formed, and every default one that the engines accept."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import hub_files
import pytest

from engineroom import plugins
from engineroom.hardware import Matrix
from engineroom.settings import Environment

from .conftest import ROOT

MATRIX = Matrix.load(ROOT / "docker/matrix.json")
ROWS = MATRIX.rows


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
        listed = hub_files.hub(row, MATRIX)["config"]["env"]
        defaults = {entry["key"]: entry["input"]["default"] for entry in listed if "default" in entry["input"]}
    else:
        config = read("worker-config.json")
        names = [name for group in config["versions"][row.name]["categories"] for name in group["settings"]]
        defaults = {name: value for name in names if (value := config["schema"][name]["value"]) != ""}
    assert defaults
    open_engine(row, defaults)


def open_engine(row: Any, settings: Mapping[str, Any]) -> None:
    """As an image of that row would; raises SettingsError. Real values that only an installation has are left out."""
    needed = {"fastdeploy": {"FASTDEPLOY_VERSION": row.version}, "upstream": {"UPSTREAM_URLS": "http://127.0.0.1:1/v1"}}
    model = {} if row.engine == "llamacpp" and "MODEL_NAME" not in settings else {"MODEL_NAME": "org/model"}
    texts = {name: str(value) for name, value in settings.items()}
    plugins.open_engine(Environment.of({**model, **needed.get(row.engine, {}), **texts, "ENGINE": row.engine}))


FIRST_ROWS = list({row.engine: row for row in reversed(ROWS)}.values())
"""One image of each engine."""


@pytest.mark.parametrize("row", FIRST_ROWS, ids=lambda row: row.engine)
def test_a_listing_is_of_its_engine(row: Any) -> None:
    """Its presets and its test start, and what is shown at once is an engine's own and what everyone needs."""
    hub = hub_files.hub(row, MATRIX)
    config = hub["config"]
    assert hub_files.Listing.of(row.engine).title in hub["title"]
    keys = {entry["key"] for entry in config["env"]}
    shown = [entry["key"] for entry in config["env"] if not entry["input"].get("advanced")]
    assert shown == list(dict.fromkeys(shown))
    assert 8 <= len(shown) <= 24
    assert set(shown) <= keys
    assert set(hub_files.Listing.of(row.engine).open) <= set(shown), "a setting that the engine does not have"
    for preset in config["presets"]:
        assert preset["defaults"].keys() <= keys
        open_engine(row, preset["defaults"])
    tests = hub_files.tests(row)
    settings = {variable["key"]: variable["value"] for variable in tests["config"].get("env", [])}
    if tests["tests"]:
        assert settings["JOB_ERRORS"] == "failed", "the Hub takes any answer of 200 for success"
        open_engine(row, settings)
    assert not row.sm or hub_files.TEST_SM in row.sm
    assert ("gpuTypeId" in tests["config"]) == (config["runsOn"] == "GPU") == bool(row.sm)


def test_a_listing_has_what_a_queue_endpoint_reads_and_nothing_else() -> None:
    engine, env = plugins.engine_class(Environment.of({"ENGINE": "echo"}))
    queue = {s.name for group in plugins.settings_groups(engine, env, "runpod") for s in group.describe()}
    every = {s.name for group in plugins.settings_groups(engine, env) for s in group.describe()}
    row = next(row for row in ROWS if row.engine == "echo")
    listed = {entry["key"] for entry in hub_files.hub(row, MATRIX)["config"]["env"]}
    assert listed == queue - {"WORKER", "ENGINE", "ENGINEROOM_IMAGE", "HOST"}
    assert {"API_KEYS", "CORS_ORIGINS", "METRICS"} <= every - queue
    assert "MAX_CONCURRENCY" in listed


@pytest.mark.parametrize("row", FIRST_ROWS, ids=lambda row: row.engine)
def test_the_hub_s_tests_are_jobs(row: Any) -> None:
    from engineroom.jobs import JobInput

    engine = plugins.open_engine(Environment.of({"ENGINE": "echo"}))
    tests = hub_files.tests(row)
    assert all(variable.keys() == {"key", "value"} for variable in tests["config"].get("env", []))
    for test in tests["tests"]:
        JobInput.parse(test["input"], engine)


def test_every_image_is_in_the_console_s_file() -> None:
    config = read("worker-config.json")
    assert list(config["versions"]) == [row.name for row in ROWS]
    for version in config["versions"].values():
        assert all(name in config["schema"] for group in version["categories"] for name in group["settings"])
