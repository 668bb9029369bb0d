"""Prometheus as docker-compose.yml sets it up, watching a real door; and what Grafana would ask of it."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from compose_file import ROOT
from http_door import Door, serving
from prometheus_server import FILES, Prometheus, program
from redis_server import RedisServer

KEYS = {"API_KEYS": "alice:sk-alice,prometheus:sk-metrics"}
ALICE = {"authorization": "Bearer sk-alice"}
EVERYTHING = {
    "MAX_CONCURRENT_REQUESTS": "1",
    "BREAKER_FAILURES": "9",
    "CACHE_TTL": "9",
    "ENGINE_RESTARTS": "1",
    "DOOR_PROCESSES": "2",
}
DASHBOARD = json.loads((ROOT / "docs/grafana/engineroom.json").read_text())
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FILES / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
ONLY_WITH_GPUS = {"engineroom_gpu_utilisation_ratio", "engineroom_gpu_memory_used_bytes"}


def port_of(door: Door) -> int:
    return int(door.url.rpartition(":")[2])


def expressions() -> list[str]:
    """What the dashboard's panels ask; Grafana puts the interval in."""
    targets = [target for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return [target["expr"].replace("$__rate_interval", "1m") for target in targets]


def chat(door: Door, **fields: Any) -> int:
    body = {"messages": [{"role": "user", "content": "Hello there, how are you?"}], **fields}
    return httpx.post(f"{door.url}/v1/chat/completions", json=body, headers=ALICE, timeout=60).status_code


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    redis = RedisServer(tmp_path_factory.mktemp("redis"))
    try:
        with serving({**KEYS, **EVERYTHING, "REDIS_URL": redis.url}) as running:
            yield running
    finally:
        redis.stop()


@pytest.fixture(scope="module")
def prometheus(door: Door, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    running = Prometheus(tmp_path_factory.mktemp("p"), port_of(door), METRICS_KEY="sk-metrics", KEYS_IN_USE="yes")
    try:
        yield running
    finally:
        running.stop()


def test_the_worker_is_scraped_with_a_key_of_its_own(prometheus: Prometheus, door: Door) -> None:
    prometheus.until(lambda: prometheus.target()["health"] == "up")
    assert chat(door, stream=True) == 200
    asked = 'engineroom_requests_total{status="200", key="alice", route="/v1/chat/completions"}'
    prometheus.until(lambda: prometheus.query(asked) != [])
    (series,) = prometheus.query(asked)
    assert series["metric"]["job"] == "engineroom"
    assert float(series["value"][1]) >= 1
    assert prometheus.query("engineroom_redis_up")[0]["value"][1] == "1"
    # The engine's own metrics come along.
    assert prometheus.query("engineroom_echo_running")


def test_every_question_of_the_dashboard_has_an_answer(prometheus: Prometheus, door: Door) -> None:
    for _ in range(2):
        assert chat(door, stream=True, temperature=0) == 200

    def answer(expression: str) -> list[Any]:
        now = time.time()
        series = prometheus.get("query_range", query=expression, start=now - 60, end=now + 1, step=1)["result"]
        return list(series)

    for expression in expressions():
        if any(name in expression for name in ONLY_WITH_GPUS):
            answer(expression)
        else:
            # A rate wants two samples, of which a scrape amid the requests may have been the first of some series only.
            prometheus.until(lambda expression=expression: answer(expression))


def test_dashboard_and_alerts_name_only_what_the_door_exports(prometheus: Prometheus, door: Door) -> None:
    assert chat(door, stream=True, temperature=0) == 200
    asked = {*expressions(), *(rule["expr"] for rule in RULES)}
    named = {name for expression in asked for name in re.findall(r"engineroom_\w+", expression)} - ONLY_WITH_GPUS
    prometheus.until(lambda: named <= set(prometheus.get("label/__name__/values")))


def test_alerts_are_loaded_and_can_be_worked_out(prometheus: Prometheus) -> None:
    def rules() -> list[dict[str, Any]]:
        rules_now: list[dict[str, Any]] = prometheus.get("rules")["groups"][0]["rules"]
        return rules_now

    prometheus.until(lambda: all(rule["health"] == "ok" for rule in rules()))
    assert [rule["name"] for rule in rules()] == [rule["alert"] for rule in RULES]
    # A scrape that a busy machine made too slow counts as a worker that is down, until the next one.
    prometheus.until(lambda: {rule["state"] for rule in rules()} == {"inactive"})


@pytest.mark.parametrize(
    ("environ", "health"),
    [({}, "up"), ({"METRICS_KEY": "sk-other", "KEYS_IN_USE": "yes"}, "down"), ({"METRICS_OPEN": "true"}, "up")],
    ids=["no keys", "a wrong key", "open"],
)
def test_other_ways_to_be_let_in(tmp_path: Path, environ: dict[str, str], health: str) -> None:
    settings = {} if not environ else {**KEYS, **({"METRICS_OPEN": "true"} if "METRICS_OPEN" in environ else {})}
    with serving(settings) as door:
        prometheus = Prometheus(tmp_path, port_of(door), **environ)
        try:
            prometheus.until(lambda: prometheus.target()["health"] == health)
            if health == "down":
                prometheus.until(lambda: "401" in prometheus.target()["lastError"])
                prometheus.until(lambda: prometheus.query('ALERTS{alertname="EngineroomDown"}') != [])
            elif environ:
                assert "engineroom_requests_total" in httpx.get(f"{door.url}/metrics").text
        finally:
            prometheus.stop()


def test_promtool_finds_nothing_wrong() -> None:
    checks = (["check", "config", "--syntax-only", str(FILES / "prometheus.yml")],
              ["check", "rules", str(FILES / "alerts.yml")], ["test", "rules", "alerts.yml"])  # fmt: skip
    for command in checks:
        done = subprocess.run(
            [program("promtool"), *command],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_its_own_test() -> None:
    cases = yaml.safe_load(Path(__file__).with_name("alerts.yml").read_text())["tests"]
    assert {case["alertname"] for test in cases for case in test["alert_rule_test"]} == {r["alert"] for r in RULES}


def test_the_dashboard_s_panels_are_whole() -> None:
    """Grafana itself is not to be had here: what it needs of a panel is checked one by one."""
    panels, (variable,) = DASHBOARD["panels"], DASHBOARD["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}  # fmt: skip
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        for source in [panel["datasource"], *(target["datasource"] for target in panel["targets"])]:
            assert source == {"type": "prometheus", "uid": "${" + variable["name"] + "}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        for target in panel["targets"]:
            # A legend can only name labels that the expression leaves.
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                aggregated = re.match(r"sum by \(([^)]*)\)", target["expr"])
                assert label in (aggregated[1] if aggregated else "instance gpu"), target


def test_grafana_s_rates_follow_from_the_scrapes() -> None:
    (source,) = yaml.safe_load((ROOT / "docker/compose/grafana/datasource.yml").read_text())["datasources"]
    scrapes = yaml.safe_load((FILES / "prometheus.yml").read_text())["global"]
    assert source["jsonData"]["timeInterval"] == scrapes["scrape_interval"]
    assert source["isDefault"] is True
    (provider,) = yaml.safe_load((ROOT / "docker/compose/grafana/dashboards.yml").read_text())["providers"]
    grafana = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["grafana"]
    assert f"./docs/grafana:{provider['options']['path']}:ro" in grafana["volumes"]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/engineroom.json"
