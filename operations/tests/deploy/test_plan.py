"""The plan as a pure function: what is there and what is wanted, and what has to be done."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from rich.console import Console

from engineroom_operations.deploy.plan import INJECTED, PlanError, WantedResource, make_plan, resolved
from engineroom_operations.deploy.plan_table import plan_table
from engineroom_operations.runpod_api import ENDPOINTS, PODS, VOLUMES

BODY = {"name": "a", "image": "i:1", "env": {"MODEL_NAME": "m", "HF_TOKEN": "hf_new"}, "workers": {"min": 0, "max": 3}}
SECRETS = frozenset({"env.HF_TOKEN"})


def endpoint(body: Mapping[str, Any] = BODY, **more: Any) -> WantedResource:
    return WantedResource(ENDPOINTS, "a", body, secrets=SECRETS, **more)


def there(*existing: Mapping[str, Any], kind: Any = ENDPOINTS) -> dict[str, Sequence[Mapping[str, Any]]]:
    return {kind.path: existing}


def as_text(plan: Any) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(plan_table(plan))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_what_is_not_there_is_created() -> None:
    plan = make_plan([endpoint()], there())
    assert [(change.action, change.body) for change in plan.changes] == [("create", BODY)]


def test_what_is_right_stays_as_it_is_whatever_runpod_adds() -> None:
    existing = {
        **BODY,
        "id": "e1",
        "workers": {"max": 3, "min": 0, "idleTimeout": 5},
        "createdAt": "2026-11-26",
        "env": {**BODY["env"], **dict.fromkeys(INJECTED, "x"), "RUNPOD_SOMETHING": "y"},  # type: ignore[dict-item]
    }
    plan = make_plan([endpoint()], there(existing))
    assert not plan.changes
    assert plan.ids == {endpoint().placeholder: "e1"}


def test_a_name_to_which_runpod_adds_that_flashboot_is_on() -> None:
    assert not make_plan([endpoint()], there({**BODY, "id": "e1", "name": "a -fb"})).changes


def test_only_what_differs_is_sent_and_what_runpod_injected_is_kept() -> None:
    existing = {**BODY, "id": "e1", "env": {"MODEL_NAME": "m", "OLD": "1", "PUBLIC_KEY": "ssh"}, "image": "i:0"}
    (change,) = make_plan([endpoint()], there(existing)).changes
    assert change.action == "update"
    assert change.body == {"image": "i:1", "env": {"PUBLIC_KEY": "ssh", "MODEL_NAME": "m", "HF_TOKEN": "hf_new"}}


@pytest.mark.parametrize("existing", ["hf_old", None])
def test_no_secret_is_shown_old_or_new_ours_or_not(existing: str | None) -> None:
    env = {"MODEL_NAME": "m", "MINE": "somebody's", **({"HF_TOKEN": existing} if existing else {})}
    text = as_text(make_plan([endpoint()], there({**BODY, "id": "e1", "env": env})))
    assert "HF_TOKEN" in text
    assert "MINE" in text
    assert not [secret for secret in ("hf_old", "hf_new", "somebody") if secret in text]
    assert "hf_new" not in as_text(make_plan([endpoint()], there()))


def test_what_refers_to_a_secret_in_runpods_console_is_shown() -> None:
    body = {**BODY, "env": {"HF_TOKEN": "{{ RUNPOD_SECRET_hf }}"}}
    assert "RUNPOD_SECRET_hf" in as_text(make_plan([WantedResource(ENDPOINTS, "a", body)], there()))


def test_what_cannot_be_changed_is_created_anew() -> None:
    wanted = endpoint({**BODY, "type": "QUEUE"}, fixed=frozenset({"type"}))
    (change,) = make_plan([wanted], there({**BODY, "id": "e1", "type": "LOAD_BALANCER"})).changes
    assert (change.action, change.id, change.body) == ("replace", "e1", wanted.body)


def test_what_holds_data_is_never_replaced() -> None:
    body = {"name": "v", "size": 20, "dataCenter": "EU"}
    wanted = WantedResource(VOLUMES, "v", body, fixed=frozenset({"dataCenter"}), keeps_data=True)
    with pytest.raises(PlanError, match="dataCenter is US and cannot become EU"):
        make_plan([wanted], there({**body, "id": "v1", "dataCenter": "US"}, kind=VOLUMES))


def test_a_name_that_is_there_twice_is_nobody() -> None:
    with pytest.raises(PlanError, match="2 endpoints called a"):
        make_plan([endpoint()], there({**BODY, "id": "e1"}, {**BODY, "id": "e2"}))


def test_a_pod_may_be_on_any_of_its_candidates() -> None:
    first, second, third = ({"name": "p", "gpu": {"id": gpu, "count": 1}} for gpu in ("A", "B", "C"))
    wanted = WantedResource(PODS, "p", first, fixed=frozenset({"gpu.id"}), candidates=(second,))
    assert not make_plan([wanted], there({**second, "id": "p1"}, kind=PODS)).changes
    (change,) = make_plan([wanted], there({**third, "id": "p1"}, kind=PODS)).changes
    assert change.action == "replace"


def test_a_pod_in_one_of_its_data_centers_stays() -> None:
    body = {"name": "p", "dataCenterIds": ["EU", "US"]}
    wanted = WantedResource(
        PODS, "p", body, fixed=frozenset({"dataCenterIds"}), one_of={"dataCenterIds": "dataCenterId"}
    )
    for center in ("EU", None):
        assert not make_plan([wanted], there({"id": "p1", "name": "p", "dataCenterId": center}, kind=PODS)).changes
    (change,) = make_plan([wanted], there({"id": "p1", "name": "p", "dataCenterId": "AP"}, kind=PODS)).changes
    assert change.action == "replace"


def test_a_mount_that_is_not_wanted_any_more_is_no_silent_matter() -> None:
    wanted = WantedResource(
        PODS, "p", {"name": "p"}, fixed=frozenset({"mounts.network"}), empty=frozenset({"mounts.network"})
    )
    mounted = {"id": "p1", "name": "p", "mounts": {"network": [{"volumeId": "v", "path": "/runpod-volume"}]}}
    assert make_plan([wanted], there(mounted, kind=PODS)).changes[0].action == "replace"
    assert not make_plan([wanted], there({**mounted, "mounts": {"network": []}}, kind=PODS)).changes


def test_ids_take_the_places_of_what_was_still_to_be_made() -> None:
    volume = WantedResource(VOLUMES, "v", {"name": "v", "size": 20})
    user = endpoint({"name": "a", "networkVolumes": [volume.placeholder]})
    plan = make_plan([volume, user], {})
    assert plan.changes[1].body["networkVolumes"] == [volume.placeholder]
    assert resolved(plan.changes[1].body, {volume.placeholder: "v1"})["networkVolumes"] == ["v1"]
    plan = make_plan([volume, user], there({"id": "v1", "name": "v", "size": 20}, kind=VOLUMES))
    assert plan.changes[0].body["networkVolumes"] == ["v1"]


def test_the_order_of_a_list_means_nothing() -> None:
    wanted = endpoint({"name": "a", "ports": ["1/http", "2/http"], "args": ""})
    assert not make_plan([wanted], there({"id": "e", "name": "a", "ports": ["2/http", "1/http"]})).changes
