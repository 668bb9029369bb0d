"""Plans carried out over sockets, on the emulator's management API; every exchange is held against RunPod's file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Any

import pytest
from checked_transport import checked_transport
from deployment_specifications import PASSWORD, SECRET, specification
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engineroom.runpod_account import RunPodAccount
from engineroom_operations.deploy.applying import UnfinishedError, carry_out
from engineroom_operations.deploy.observed import observe
from engineroom_operations.deploy.plan import DeploymentPlan, make_plan
from engineroom_operations.deploy.wanted import Specification, wanted_resources
from engineroom_operations.runpod_api import (
    ENDPOINTS,
    PODS,
    REGISTRIES,
    TEMPLATES,
    VOLUMES,
    ResourceKind,
    RunPodApiError,
    RunPodClient,
)
from engineroom_workers.emulator.platform_server import RunningPlatform
from engineroom_workers.emulator.testing import running_platform

KINDS: list[ResourceKind[Any]] = [ENDPOINTS, PODS, TEMPLATES, VOLUMES, REGISTRIES]
numbers = count(1)


class Interrupted(BaseException):
    """Somebody pulled the plug."""


class Plug:
    """Ends a run at its nth request: before it is sent, or after it has had its effect."""

    def __init__(self) -> None:
        self._left: int | None = None
        self._late = False

    def pull_at(self, number: int | None, late: bool = False) -> None:
        self._left = number
        self._late = late

    def before(self) -> None:
        self._count(late=False)

    def after(self) -> None:
        self._count(late=True)

    def _count(self, late: bool) -> None:
        if self._left is None or self._late != late:
            return
        self._left -= 1
        if self._left < 0:
            raise Interrupted


@pytest.fixture(scope="module")
def plug() -> Plug:
    return Plug()


@pytest.fixture(scope="module", autouse=True)
def checked(plug: Plug) -> Iterator[None]:
    with checked_transport(plug.before, plug.after):
        yield


@pytest.fixture(scope="module")
async def platform() -> AsyncIterator[RunningPlatform]:
    """One platform for all tests of this module; no worker starts in them."""
    async with running_platform() as running:
        yield running


@pytest.fixture
async def api(platform: RunningPlatform) -> AsyncIterator[RunPodClient]:
    async with client(platform) as opened:
        yield opened


def client(platform: RunningPlatform) -> RunPodClient:
    account = RunPodAccount.model_validate({"runpod_api_url": platform.url, "runpod_api_key": "any"})
    return RunPodClient(account, pause_s=0.001)


async def run(api: RunPodClient, spec: Specification) -> DeploymentPlan:
    """One run of the command, less what it reads and shows: the plan that was carried out."""
    wanted = wanted_resources(spec)
    plan = make_plan(wanted, await observe(api))
    await carry_out(api, plan, lambda line: None)
    return plan


async def ours(api: RunPodClient, name: str) -> dict[str, int]:
    """How many there are of what belongs to a deployment, by kind."""
    return {kind.word: sum(name in each.name for each in await api.all_of(kind)) for kind in KINDS}


def everything(name: str) -> dict[str, Any]:
    return {"volume": {"name": f"{name}-volume", "size": 20}, "registry": {"name": f"{name}-registry"}}


@pytest.mark.parametrize("kind", ["queue", "load-balancer", "pod"])
async def test_a_second_run_changes_nothing(api: RunPodClient, kind: str) -> None:
    name = f"second-{kind}"
    spec = specification(name, kind, **everything(name))
    first = await run(api, spec)
    assert [change.action for change in first.changes] == ["create"] * 4
    assert not make_plan(wanted_resources(spec), await observe(api)).changes
    assert not (await run(api, spec)).changes
    assert sum((await ours(api, name)).values()) == 4


@pytest.mark.parametrize("kind", ["queue", "load-balancer", "pod"])
async def test_a_change_changes_only_that(api: RunPodClient, kind: str) -> None:
    name = f"change-{kind}"
    await run(api, specification(name, kind))
    plan = await run(api, specification(name, kind, level="DEBUG"))
    assert [[difference.field for difference in change.differences] for change in plan.changes] == [
        ["env.LOG_LEVEL"]
    ] * 2
    assert not (await run(api, specification(name, kind, level="DEBUG"))).changes


async def test_an_endpoint_of_another_type_is_replaced(api: RunPodClient) -> None:
    await run(api, specification("other", "queue"))
    plan = await run(api, specification("other", "load-balancer"))
    assert [change.action for change in plan.changes] == ["update", "replace"]
    assert not (await run(api, specification("other", "load-balancer"))).changes
    assert (await ours(api, "other"))["endpoint"] == 1


async def test_a_template_has_no_secrets_and_an_endpoint_has_them(api: RunPodClient) -> None:
    await run(api, specification("secrets"))
    (template,) = await api.named(TEMPLATES, "secrets-template")
    (endpoint,) = await api.named(ENDPOINTS, "secrets")
    assert "HF_TOKEN" not in template.env
    assert endpoint.env["HF_TOKEN"] == SECRET


@st.composite
def interruptions(draw: st.DrawFn) -> list[tuple[int, bool]]:
    return draw(st.lists(st.tuples(st.integers(0, 14), st.booleans()), max_size=3))


@given(
    kinds=st.tuples(*[st.sampled_from(["queue", "load-balancer", "pod"])] * 2),
    with_all=st.booleans(),
    own_template=st.booleans(),
    first=interruptions(),
    second=interruptions(),
)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
async def test_any_interruption_and_then_again_ends_in_the_same_state(
    platform: RunningPlatform,
    plug: Plug,
    kinds: tuple[str, str],
    with_all: bool,
    own_template: bool,
    first: list[tuple[int, bool]],
    second: list[tuple[int, bool]],
) -> None:
    """A deployment is made and then changed, and both are cut off again and again, wherever they are."""
    name = f"cut{next(numbers)}"
    more = {**(everything(name) if with_all else {}), "template": own_template}
    before, after = kinds
    if "pod" in kinds:
        before = after = "pod"
    async with client(platform) as api:
        for spec, cuts in (
            (specification(name, before, **more), first),
            (specification(name, after, level="DEBUG", **more), second),
        ):
            for number, late in cuts:
                plug.pull_at(number, late)
                try:
                    await run(api, spec)
                except Interrupted:
                    pass
                finally:
                    plug.pull_at(None)
            await run(api, spec)
            assert not make_plan(wanted_resources(spec), await observe(api)).changes
        parts = await ours(api, name)
        assert parts == {
            "endpoint": int(after != "pod"),
            "pod": int(after == "pod"),
            "template": int(own_template),
            "network volume": int(with_all),
            "registry credential": int(with_all),
        }
        for kind in KINDS:
            for each in await api.all_of(kind):
                if name in each.name:
                    await api.delete(kind, each.id)


@pytest.mark.parametrize(
    ("fault", "rate"),
    [("api_429", 0.15), ("api_500", 0.2), ("api_500", 0.34), ("api_lose_answers", 0.34), ("api_lose_answers", 0.5)],
)
async def test_a_platform_that_fails_now_and_then_makes_nothing_twice(
    platform: RunningPlatform, api: RunPodClient, fault: str, rate: float
) -> None:
    name = f"fault{next(numbers)}"
    spec = specification(name, **everything(name))
    platform.account.faults.update({fault: rate})
    try:
        await run(api, spec)
    finally:
        platform.account.faults.update({fault: 0.0})
    assert not (await run(api, spec)).changes
    assert sorted((await ours(api, name)).values()) == [0, 1, 1, 1, 1]


async def test_a_refusal_says_what_stands_the_field_and_the_cause_and_no_secret(api: RunPodClient) -> None:
    name = f"refused{next(numbers)}"
    spec = specification(name, registry={"name": f"{name}-registry"}, data_centers=["NO-1"])
    with pytest.raises(UnfinishedError) as raised:
        await run(api, spec)
    text = str(raised.value)
    assert f"creating the endpoint {name}" in text
    assert "NO-1" in text
    assert f"registry credential {name}-registry, template {name}-template" in text
    assert "goes on from here" in text
    assert not [secret for secret in (SECRET, PASSWORD) if secret in text]
    await run(api, specification(name, registry={"name": f"{name}-registry"}))


async def test_a_key_that_is_refused(platform: RunningPlatform) -> None:
    async with running_platform(api_key="right") as locked:
        account = RunPodAccount.model_validate({"runpod_api_url": locked.url, "runpod_api_key": "wrong"})
        async with RunPodClient(account) as api:
            with pytest.raises(RunPodApiError, match="RUNPOD_API_KEY is wrong"):
                await api.all_of(ENDPOINTS)


async def test_nobody_listens_there() -> None:
    account = RunPodAccount.model_validate({"runpod_api_url": "http://127.0.0.1:9", "runpod_api_key": "any"})
    async with RunPodClient(account, pause_s=0.001) as api:
        with pytest.raises(RunPodApiError, match="cannot be reached"):
            await asyncio.wait_for(api.all_of(ENDPOINTS), 30)


def test_what_is_sent_is_json_without_what_is_unset() -> None:
    body = wanted_resources(specification("json"))[-1].body
    assert json.loads(json.dumps(body)) == body
    assert "gpu" not in body
