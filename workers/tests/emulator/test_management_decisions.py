"""The management API's decisions as pure functions: scaling, plans, states, releases, bills and programs."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timezone
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runpod_contract import needed_contract

from engineroom_workers.emulator.management.billing import bucket_after, bucket_of, buckets_between, last_buckets
from engineroom_workers.emulator.management.fleet_plan import WorkerView, make_plan
from engineroom_workers.emulator.management.launcher import _on_this_machine
from engineroom_workers.emulator.management.ports import http_ports, map_ports
from engineroom_workers.emulator.management.programs import Programs, container_environment
from engineroom_workers.emulator.management.rules.endpoints import difference, needs_new_workers
from engineroom_workers.emulator.management.scaling import EndpointLoad, FleetLimits, wanted_workers
from engineroom_workers.emulator.management.states import (
    POD_TRANSITIONS,
    PodStatus,
    WorkerFacts,
    WorkerStatus,
    permitted_actions,
    worker_status,
)

BY_COUNT = {"type": "REQUEST_COUNT", "requestCount": 4}
BY_DELAY = {"type": "QUEUE_DELAY", "queueDelay": 4.0}


@pytest.mark.parametrize(
    ("scaling", "limits", "load", "workers", "wanted"),
    [
        (BY_COUNT, (0, 3), (0, 0, 0), 0, 0),
        (BY_COUNT, (0, 3), (1, 0, 0), 0, 1),
        (BY_COUNT, (0, 3), (4, 0, 0), 0, 1),
        (BY_COUNT, (0, 3), (1, 4, 0), 1, 2),
        (BY_COUNT, (0, 3), (99, 0, 0), 1, 3),
        (BY_COUNT, (1, 3), (0, 0, 0), 0, 1),
        (BY_DELAY, (0, 3), (0, 0, 0), 2, 0),
        (BY_DELAY, (0, 3), (0, 2, 0), 3, 2),
        (BY_DELAY, (0, 3), (0, 9, 0), 2, 2),
        (BY_DELAY, (0, 3), (1, 0, 0.0), 0, 1),
        (BY_DELAY, (0, 3), (1, 1, 3.9), 1, 1),
        (BY_DELAY, (0, 3), (1, 1, 4.1), 1, 2),
        (BY_DELAY, (0, 3), (1, 1, 99), 1, 3),
        (BY_DELAY, (0, 0), (1, 0, 99), 0, 0),
    ],
)
def test_scaling(scaling: dict[str, Any], limits: Any, load: Any, workers: int, wanted: int) -> None:
    assert wanted_workers(scaling, FleetLimits(*limits), EndpointLoad(*load), workers) == wanted


VIEWS = st.lists(
    st.builds(
        WorkerView,
        id=st.uuids().map(str),
        status=st.sampled_from(get_args(WorkerStatus)),
        stale=st.booleans(),
        idle_for=st.floats(0, 20),
    ),
    max_size=6,
    unique_by=lambda view: view.id,
)


@given(VIEWS, st.integers(0, 4), st.integers(0, 4), st.integers(0, 4))
def test_a_plan(workers: list[WorkerView], least: int, more: int, wish: int) -> None:
    limits = FleetLimits(least, least + more)
    wanted = min(max(wish, limits.min), limits.max)
    plan = make_plan(workers, wanted, limits, idle_timeout=10)
    leaving = [*plan.end, *plan.drain]
    by_id = {worker.id: worker for worker in workers}
    assert len(set(leaving)) == len(leaving)
    assert all(by_id[one].status != "RUNNING" for one in plan.end), "nobody who works is ended at once"
    assert {worker.id for worker in workers if worker.stale} <= set(leaving)
    staying = [worker for worker in workers if worker.id not in leaving]
    assert wanted <= len(staying) + plan.start <= max(limits.max, wanted)
    assert not (plan.start and [one for one in leaving if not by_id[one].stale]), "none is ended and another started"
    # What is carried out needs no other plan, but for the time that passes.
    started = [WorkerView(f"new {number}", "INITIALIZING") for number in range(plan.start)]
    drained = [one for one in workers if one.id in plan.drain]
    again = make_plan([*staying, *drained, *started], wanted, limits, idle_timeout=10)
    assert (again.start, again.end) == (0, ())


def test_the_states_of_a_pod() -> None:
    contract = needed_contract()
    statuses = contract.document["components"]["schemas"]["PodStatus"]["enum"]
    assert set(statuses) == set(get_args(PodStatus))
    assert {status for status, _ in POD_TRANSITIONS} | set(POD_TRANSITIONS.values()) == set(statuses)
    assert permitted_actions("RUNNING") == ["stop", "restart", "terminate"]
    assert permitted_actions("EXITED") == permitted_actions("ERROR") == ["start", "terminate"]
    assert permitted_actions("PROVISIONING") == permitted_actions("STARTING") == ["stop", "terminate"]
    assert permitted_actions("TERMINATED") == []


def test_the_states_of_a_worker() -> None:
    kinds = Counter(
        worker_status(WorkerFacts(placed, unhealthy, ready, busy))
        for placed in (False, True)
        for unhealthy in (False, True)
        for ready in (False, True)
        for busy in (False, True)
    )
    assert kinds == {"THROTTLED": 8, "UNHEALTHY": 4, "INITIALIZING": 2, "IDLE": 1, "RUNNING": 1}
    contract = needed_contract()
    assert set(kinds) == set(contract.document["components"]["schemas"]["WorkerStatus"]["enum"])


def test_which_changes_need_new_workers() -> None:
    old = {"name": "a", "env": {}, "workers": {"min": 0, "max": 1}, "scaling": BY_DELAY, "gpu": {"count": 1}}
    for change, needed in (
        ({"name": "b"}, False),
        ({"workers": {"min": 0, "max": 2}}, False),
        ({"scaling": BY_COUNT}, False),
        ({"env": {"A": "1"}}, True),
        ({"gpu": {"count": 2}}, True),
    ):
        changes = difference(old, {**old, **change})
        assert changes
        assert needs_new_workers(changes) is needed, change
    assert difference(old, dict(old)) == []


@pytest.mark.parametrize(
    ("image", "engine"),
    [
        ("ghcr.io/me/engineroom:0.1.0", None),
        ("engineroom", None),
        ("localhost:5000/engineroom-mine:dev", None),
        ("python:3.12", "none"),
        ("me/worker:1", "none"),
        ("Not An Image", "none"),
    ],
)
def test_which_image_is_ours(image: str, engine: str | None) -> None:
    program = Programs().find(image)
    assert (program is None) == (engine == "none")
    if program is not None:
        assert program.command("") == ["engineroom", "start"]
        assert program.command("serve --port '80 00'") == ["engineroom", "serve", "--port", "80 00"]


def test_a_row_of_the_matrix_names_the_engine() -> None:
    from engineroom.hardware import Matrix

    for row in Matrix.packaged().rows:
        program = Programs().find(f"ghcr.io/someone/something:0.1.0-{row.name}")
        assert program is not None
        assert program.environ["ENGINE"] == row.engine


def test_a_container_has_its_own_variables_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_NAME", "mine")
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    monkeypatch.setenv("HF_HOME", "/caches")
    environ = container_environment({"ENGINE": "a", "WORKER": "runpod"}, {"ENGINE": "b"}, {"PORT": "1"})
    assert (environ["ENGINE"], environ["WORKER"], environ["PORT"], environ["HF_HOME"]) == (
        "b",
        "runpod",
        "1",
        "/caches",
    )
    assert not {"MODEL_NAME", "HF_TOKEN"} & set(environ)


def test_ports() -> None:
    free = iter((40001, 40002))
    ports = map_ports({"PORT": "80", "PORT_HEALTH": "81", "HOST": "0.0.0.0"}, lambda: next(free))
    assert ports.host_ports == {80: 40001, 81: 40002}
    assert ports.environ == {"HOST": "127.0.0.1", "PORT": "40001", "PORT_HEALTH": "40002"}
    assert map_ports({"PORT": "80", "PORT_HEALTH": "80"}, lambda: 40003).host_ports == {80: 40003}
    assert map_ports({"PORT": "none"}, lambda: 1).host_ports == {}
    assert http_ports(["8000/http", "22/tcp", "x/http"]) == {8000}


def test_paths_on_a_volume(tmp_path: Any) -> None:
    folders = {"/runpod-volume": tmp_path}
    assert _on_this_machine("/runpod-volume", folders) == str(tmp_path)
    assert _on_this_machine("/runpod-volume/models", folders) == f"{tmp_path}/models"
    for value in ("/runpod-volumes", "a/runpod-volume", "/", ""):
        assert _on_this_machine(value, folders) == value


@given(
    st.sampled_from(["hour", "day", "week", "month", "year"]),
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(timezone.utc)),
    st.integers(1, 40),
)
def test_buckets(size: Any, now: datetime, count: int) -> None:
    begin = bucket_of(size, now)
    assert begin <= now < bucket_after(size, begin)
    assert bucket_of(size, begin) == begin
    period = last_buckets(size, count, now)
    assert len(period.buckets) == count
    assert all(bucket_after(size, first) == last for first, last in period.buckets)
    assert buckets_between(size, period.begins[0], period.end) == period
