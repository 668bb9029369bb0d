"""docker-compose.yml as Docker Compose reads it: who runs with which profile, and that nothing is left to fill in."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_file import FILE, NEEDED, ROOT, compose, config

from engineroom.hardware import Matrix
from engineroom.settings import Environment, WorkerSettings

ALL = ("redis", "monitoring", "tls")
SECRETS = {"API_KEYS": "alice:sk-alice", "METRICS_KEY": "sk-metrics", "GRAFANA_PASSWORD": "pw", "HF_TOKEN": "hf"}


def services(*profiles: str, **environ: str) -> dict[str, Any]:
    running: dict[str, Any] = config(*profiles, **environ)["services"]
    return running


@pytest.mark.parametrize(
    ("profiles", "expected"),
    [
        ((), {"worker"}),
        (("redis",), {"worker", "redis"}),
        (("monitoring",), {"worker", "prometheus", "grafana"}),
        (("tls",), {"worker", "nginx"}),
        (("queue",), {"worker", "queue", "queue-worker"}),
        (ALL, {"worker", "redis", "prometheus", "grafana", "nginx"}),
        (("*",), {"worker", "redis", "prometheus", "grafana", "nginx", "queue", "queue-worker"}),
    ],
)
def test_each_profile_adds_what_it_is_named_for(profiles: tuple[str, ...], expected: set[str]) -> None:
    assert set(services(*profiles)) == expected


def test_without_any_variable_the_first_image_serves_a_small_model() -> None:
    """Nothing is required: Docker's Bake reads the file, too, and would end there."""
    done = compose("config", "--format", "json")
    assert done.returncode == 0, done.stderr
    worker = json.loads(done.stdout)["services"]["worker"]
    matrix = Matrix.load(ROOT / "docker/matrix.json")
    assert worker["image"] == str(matrix.full_name(matrix.rows[0], "dev"))
    assert worker["environment"]["MODEL_NAME"] == "Qwen/Qwen3-0.6B"


def test_everything_is_reached_from_this_machine_only_unless_asked_for() -> None:
    for service in services("*").values():
        assert {port["host_ip"] for port in service.get("ports", [])} <= {"127.0.0.1"}
    opened = services(*ALL, BIND="0.0.0.0", HTTP_PORT="80", HTTPS_PORT="443")
    assert {(port["host_ip"], port["published"]) for port in opened["nginx"]["ports"]} == {
        ("0.0.0.0", "80"),
        ("0.0.0.0", "443"),
    }
    others = [port for name, service in opened.items() if name != "nginx" for port in service.get("ports", [])]
    assert {port["host_ip"] for port in others} == {"127.0.0.1"}
    assert "ports" not in opened["redis"]


def test_other_peoples_images_are_pinned_and_watched() -> None:
    for name, service in services(*ALL).items():
        assert service["restart"] == "unless-stopped"
        if name != "worker":  # Its image has a health check of its own.
            assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+", service["image"])
            assert service["healthcheck"]["test"][0] == "CMD"
            assert "no-new-privileges:true" in service["security_opt"]


def test_no_secret_is_in_the_file_and_each_is_where_it_belongs() -> None:
    empty = services(*ALL)
    assert empty["worker"]["environment"]["API_KEYS"] == ""
    assert empty["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD"] == ""
    assert empty["prometheus"]["environment"]["KEYS_IN_USE"] == ""
    given = services(*ALL, **SECRETS)
    assert given["worker"]["environment"]["API_KEYS"] == "alice:sk-alice,prometheus:sk-metrics"
    assert given["prometheus"]["environment"]["METRICS_KEY"] == "sk-metrics"
    assert given["prometheus"]["environment"]["KEYS_IN_USE"] == "yes"
    for secret, places in {
        "sk-alice": {"worker"},
        "sk-metrics": {"worker", "prometheus"},
        "pw": {"grafana"},
        "hf": {"worker"},
    }.items():
        assert {name for name, service in given.items() if secret in str(service["environment"]).split("'")} <= places
    # A key for Prometheus alone does not lock everybody else out.
    assert services(METRICS_KEY="sk-metrics")["worker"]["environment"]["API_KEYS"] == ""


def test_the_services_know_of_each_other() -> None:
    running = services(*ALL, REDIS_URL="redis://redis:6379/0")
    assert running["worker"]["environment"]["REDIS_URL"] == "redis://redis:6379/0"
    assert running["worker"]["depends_on"] == {"redis": {"condition": "service_healthy", "required": False}}
    address, option = running["nginx"]["environment"]["WORKER_ADDRESS"].split()
    assert (address, option) == (f"worker:{running['worker']['environment']['PORT']}", "resolve")
    (scraped,) = yaml.safe_load((ROOT / "docker/compose/prometheus/prometheus.yml").read_text())["scrape_configs"]
    (looked_up,) = scraped["dns_sd_configs"]
    assert (looked_up["names"], looked_up["type"], looked_up["port"]) == (["worker"], "A", 8000)
    assert "url: http://prometheus:9090" in (ROOT / "docker/compose/grafana/datasource.yml").read_text()
    assert running["prometheus"]["ports"][0]["target"] == 9090


def test_limits_are_the_same_before_and_behind_nginx() -> None:
    running = services(*ALL, MAX_REQUEST_MB="7", REQUEST_TIMEOUT="60")
    for name in ("worker", "nginx"):
        assert running[name]["environment"]["MAX_REQUEST_MB"] == "7"
        assert running[name]["environment"]["REQUEST_TIMEOUT"] == "60"
    defaults, nginx = WorkerSettings.load(Environment.of({})), services("tls")["nginx"]["environment"]
    assert float(nginx["MAX_REQUEST_MB"]) == defaults.max_request_mb
    assert float(nginx["REQUEST_TIMEOUT"]) == defaults.request_timeout


def test_every_file_that_is_mounted_is_there() -> None:
    for service in services(*ALL).values():
        for volume in service.get("volumes", []):
            if volume["type"] == "bind":
                assert Path(volume["source"]).exists(), volume["source"]
                assert volume["read_only"] is True
    # The nginx image's entrypoint ignores scripts that are not executable.
    for script in (ROOT / "docker/compose").glob("*/*sh"):
        assert os.access(script, os.X_OK), script


def test_a_certificate_of_ones_own_is_mounted_and_else_a_volume() -> None:
    def mounted(**environ: str) -> dict[str, Any]:
        volumes = services("tls", **environ)["nginx"]["volumes"]
        mount: dict[str, Any] = next(v for v in volumes if v["target"] == "/etc/nginx/certificates")
        return mount

    assert (mounted()["type"], mounted()["source"]) == ("volume", "certificates")
    own = mounted(TLS_FOLDER="./tls")
    assert (own["type"], own["source"]) == ("bind", str(ROOT / "tls"))


def test_a_machine_without_a_gpu_is_asked_for_none() -> None:
    without = config("*", overlay="cpu.yml")["services"]
    assert not [name for name, service in without.items() if "devices" in str(service.get("deploy"))]
    assert without["worker"]["image"] == NEEDED["IMAGE"]
    asking = {name for name, service in services("*").items() if "devices" in str(service.get("deploy"))}
    assert asking == {"worker", "queue-worker"}


def test_the_page_names_an_image_that_there_is() -> None:
    matrix = Matrix.load(ROOT / "docker/matrix.json")
    (image,) = re.findall(r"^IMAGE=(\S+)$", (ROOT / "docs/compose.md").read_text(), re.M)
    assert image in {str(matrix.full_name(row, "dev")) for row in matrix.rows}


def variables() -> set[str]:
    """All that the files ask for."""
    files = [FILE, *(ROOT / "docker/compose").glob("*.yml")]
    return {name for file in files for name in re.findall(r"\$\{([A-Z_]+)", file.read_text())}


@pytest.mark.parametrize("file", sorted((ROOT / "docker/compose").glob("*.yml")), ids=lambda file: file.name)
def test_every_file_of_more_is_on_the_page_and_fits_the_first(file: Path) -> None:
    assert f"docker/compose/{file.name}" in (ROOT / "docs/compose.md").read_text()
    assert file.read_text().startswith("# ")
    for service in config("*", overlay=file.name)["services"].values():
        assert {port["host_ip"] for port in service.get("ports", [])} <= {"127.0.0.1"}
        assert service["restart"] == "unless-stopped"


def test_every_variable_is_documented() -> None:
    documented = set(re.findall(r"`([A-Z_]+)(?:=[^`]*)?`", (ROOT / "docs/compose.md").read_text()))
    assert variables() <= documented


def test_the_same_env_file_does_for_compose_and_the_worker(tmp_path: Path) -> None:
    """The worker gets the whole `.env`; what in it is for the others must not look like a mistake to it."""
    values = {**dict.fromkeys(variables(), "1"), **NEEDED, **SECRETS, "COMPOSE_PROFILES": "redis,tls"}
    values |= {
        "BIND": "127.0.0.1",
        "REDIS_URL": "redis://redis:6379/0",
        "API_KEYS_FILE": "",
        "TLS_FOLDER": "./tls",
        "MAX_REQUEST_MB": "7",
    }
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    running = config(folder=tmp_path)["services"]
    assert set(running) == {"worker", "redis", "nginx"}
    engineroom, root = Path(sys.executable).with_name("engineroom"), tmp_path / "root"
    root.mkdir()
    done = subprocess.run(
        [engineroom, "config"],
        env={"PATH": os.environ["PATH"], "ENGINE": "echo", **running["worker"]["environment"]},
        cwd=root, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "sk-alice" not in done.stdout


@pytest.mark.parametrize(
    ("script", "environ", "remedy"),
    [
        ("grafana", {}, "set GRAFANA_PASSWORD"),
        ("redis", {}, "set REDIS_URL=redis://redis:6379/0"),
        ("prometheus", {"KEYS_IN_USE": "yes", "METRICS_KEY": "", "METRICS_OPEN": "false"}, "set METRICS_KEY"),
        ("prometheus", {"METRICS_KEY_FILE": "/nowhere/key"}, "METRICS_KEY_FILE: /nowhere/key cannot be read by user"),
        ("grafana", {"GRAFANA_PASSWORD_FILE": "/nowhere/pw"}, "GRAFANA_PASSWORD_FILE: /nowhere/pw cannot be read by"),
    ],
)
def test_what_cannot_work_does_not_start_and_says_what_to_do(script: str, environ: dict[str, str], remedy: str) -> None:
    done = subprocess.run(
        ["sh", str(ROOT / f"docker/compose/{script}/start.sh")],
        env={"PATH": os.environ["PATH"], **environ}, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 1
    assert remedy in done.stderr
